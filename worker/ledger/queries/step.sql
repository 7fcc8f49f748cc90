-- Writes decided steps, each only onto the revision that it was decided on, with alarm, journal line and event.
-- `changes` holds the columns that differ. Answers the orders that were written (whoever is missing has moved on), then
-- the events. Nothing is joined by what the planner cannot count: its guess of an array's length is 10, and the nested
-- loops that follow from it are quadratic. `(… IN …) IS TRUE` is always a hashed lookup.
WITH input AS MATERIALIZED (
    SELECT *
      FROM unnest(
        $1::bigint[], $2::integer[], $3::bigint[], $4::jsonb[], $5::text[], $6::text[], $7::integer[], $8::text[],
        $9::text[], $10::jsonb[], $11::text[], $12::float8[], $13::text[]
      ) AS t(id, revision, write_token, changes, from_state, cause, about_attempt, code,
        message, evidence, task, due_in, reference)
), held AS MATERIALIZED (
    SELECT i.* FROM orders o JOIN input i ON i.id = o.id AND i.revision = o.revision
     ORDER BY o.id FOR NO KEY UPDATE OF o
), moved AS (
    UPDATE orders o
       SET (
            state, version, gateway, attempt, sending, upstream_no, arrived_fen, cost_fen, reason_code,
            reason_message, payment, payment_expires_at, sent_at, queries, unsent, absent_count, absent_since,
            doubt_code, doubt_message, review_kind, noted, delivered, cancelling, updated_at, revision,
            write_token
       ) = (
            SELECT n.state, n.version, n.gateway, n.attempt, n.sending, n.upstream_no, n.arrived_fen, n.cost_fen,
                   n.reason_code, n.reason_message, n.payment, n.payment_expires_at, n.sent_at, n.queries, n.unsent,
                   n.absent_count, n.absent_since, n.doubt_code, n.doubt_message, n.review_kind, n.noted, n.delivered,
                   n.cancelling, n.updated_at, o.revision + 1, h.write_token
              FROM jsonb_populate_record(o, h.changes) n
       )
      FROM held h
     WHERE o.id = h.id AND o.revision = h.revision
    RETURNING o.id, o.state, o.version, o.gateway, o.attempt, o.product, o.expires_at, h.from_state, h.cause,
        h.about_attempt, h.code, h.message, h.evidence, h.task, h.due_in, h.reference
), rung AS (
    DELETE FROM alarms a USING moved m WHERE a.order_id = m.id AND m.task IS NULL
), alarm AS (
    INSERT INTO alarms (order_id, gateway, product, task, due_at, expires_at)
    SELECT id, gateway, product, task, now() + make_interval(secs => due_in),
           CASE WHEN task = 'submit' THEN expires_at END
      FROM moved
     WHERE task IS NOT NULL AND due_in IS NOT NULL
     ORDER BY id
        ON CONFLICT (order_id) DO UPDATE
       SET gateway = EXCLUDED.gateway, task = EXCLUDED.task, due_at = EXCLUDED.due_at, expires_at = EXCLUDED.expires_at
), line AS (
    INSERT INTO journal (order_id, version, from_state, to_state, cause, attempt, code, message, evidence)
    SELECT id, version, from_state, state, cause, about_attempt, code, message, evidence
      FROM moved
     WHERE cause IS NOT NULL
), numbered AS (
    INSERT INTO attempts (reference, order_id, attempt, gateway)
    SELECT reference, id, attempt, gateway FROM moved WHERE reference IS NOT NULL
), told AS (
    INSERT INTO outbox (message_id, key, body, correlation_id, trace, held_until)
    SELECT message_id, key, body, correlation_id, trace, now() + interval '10 seconds'
      FROM unnest($14::bigint[], $15::text[], $16::text[], $17::bytea[], $18::text[], $19::text[])
        AS e(id, message_id, key, body, correlation_id, trace)
     WHERE (e.id IN (SELECT id FROM moved)) IS TRUE
    RETURNING id, message_id
)
SELECT id, NULL AS message_id, NULL AS outbox_id FROM moved
UNION ALL
SELECT NULL, message_id, id FROM told
