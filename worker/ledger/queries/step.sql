-- Writes decided steps, each only onto the revision that it was decided on, with alarm, journal line and event.
-- `changes` holds the columns that differ. Answers the orders that were written; whoever is missing has moved on.
WITH input AS MATERIALIZED (
    SELECT *
      FROM unnest(
        $1::bigint[], $2::integer[], $3::bigint[], $4::jsonb[], $5::text[], $6::text[], $7::integer[], $8::text[],
        $9::text[], $10::jsonb[], $11::text[], $12::float8[], $13::text[]
      ) AS t(id, revision, write_token, changes, from_state, cause, attempt, code,
        message, evidence, task, due_in, reference)
), event AS MATERIALIZED (
    SELECT *
      FROM unnest($14::bigint[], $15::text[], $16::text[], $17::bytea[], $18::text[])
        AS t(id, message_id, key, body, correlation_id)
), held AS MATERIALIZED (
    SELECT o.id FROM orders o JOIN input i ON i.id = o.id AND i.revision = o.revision
     ORDER BY o.id FOR NO KEY UPDATE OF o
), moved AS (
    UPDATE orders o
       SET (
            state, version, gateway, attempt, sending, upstream_no, arrived_fen, cost_fen, reason_code,
            reason_message, payment, payment_expires_at, sent_at, queries, unsent, absent_count, absent_since,
            doubt_code, doubt_message, review_kind, noted, delivered, updated_at, revision, write_token
       ) = (
            SELECT n.state, n.version, n.gateway, n.attempt, n.sending, n.upstream_no, n.arrived_fen, n.cost_fen,
                   n.reason_code, n.reason_message, n.payment, n.payment_expires_at, n.sent_at, n.queries, n.unsent,
                   n.absent_count, n.absent_since, n.doubt_code, n.doubt_message, n.review_kind, n.noted, n.delivered,
                   CASE WHEN n.version = o.version THEN o.updated_at ELSE now() END, o.revision + 1, i.write_token
              FROM jsonb_populate_record(o, i.changes) n
       )
      FROM input i, held h
     WHERE h.id = i.id AND o.id = i.id AND o.revision = i.revision
    RETURNING o.id, o.state, o.version, o.gateway, o.attempt, o.product, o.expires_at
), rung AS (
    DELETE FROM alarms a USING moved m, input i WHERE i.id = m.id AND a.order_id = m.id AND i.task IS NULL
), alarm AS (
    INSERT INTO alarms (order_id, gateway, product, task, due_at, expires_at)
    SELECT m.id, m.gateway, m.product, i.task, now() + make_interval(secs => i.due_in),
           CASE WHEN i.task = 'submit' THEN m.expires_at END
      FROM moved m JOIN input i USING (id)
     WHERE i.task IS NOT NULL AND i.due_in IS NOT NULL
     ORDER BY m.id
        ON CONFLICT (order_id) DO UPDATE
       SET gateway = EXCLUDED.gateway, task = EXCLUDED.task, due_at = EXCLUDED.due_at, expires_at = EXCLUDED.expires_at
), line AS (
    INSERT INTO journal (order_id, version, from_state, to_state, cause, attempt, code, message, evidence)
    SELECT m.id, m.version, i.from_state, m.state, i.cause, i.attempt, i.code, i.message, i.evidence
      FROM moved m JOIN input i USING (id)
     WHERE i.cause IS NOT NULL
), numbered AS (
    INSERT INTO attempts (reference, order_id, attempt, gateway)
    SELECT i.reference, m.id, m.attempt, m.gateway FROM moved m JOIN input i USING (id)
     WHERE i.reference IS NOT NULL
), told AS (
    INSERT INTO outbox (message_id, key, body, correlation_id, held_until)
    SELECT e.message_id, e.key, e.body, e.correlation_id, now() + interval '10 seconds'
      FROM moved m JOIN event e USING (id)
    RETURNING id, message_id
)
SELECT m.id, t.id AS outbox_id FROM moved m LEFT JOIN event e USING (id) LEFT JOIN told t USING (message_id)
