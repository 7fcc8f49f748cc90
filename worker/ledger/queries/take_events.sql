-- Takes events whose holder did not get them confirmed in time; the taker holds them next.
WITH free AS MATERIALIZED (
    SELECT id FROM outbox WHERE held_until <= now() ORDER BY held_until LIMIT $1 FOR UPDATE SKIP LOCKED
)
UPDATE outbox o SET held_until = now() + interval '10 seconds' FROM free f WHERE o.id = f.id
RETURNING o.id, o.message_id, o.key, o.body, o.correlation_id, o.trace
