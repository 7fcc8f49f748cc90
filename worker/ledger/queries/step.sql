-- Writes decided steps, each only onto the revision that it was decided on, with alarm, journal line and event.
-- Answers the orders that were written; whoever is missing has moved on meanwhile.
WITH input AS MATERIALIZED (
    SELECT *
      FROM unnest(
        $1::bigint[], $2::integer[], $3::text[], $4::integer[], $5::text[], $6::integer[], $7::integer[], $8::text[],
        $9::bigint[], $10::bigint[], $11::text[], $12::text[], $13::jsonb[], $14::timestamptz[], $15::timestamptz[],
        $16::integer[], $17::integer[], $18::integer[], $19::timestamptz[], $20::text[], $21::text[], $22::text[],
        $23::text[], $24::boolean[], $25::bigint[], $26::text[], $27::text[], $28::integer[], $29::text[], $30::text[],
        $31::jsonb[], $32::text[], $33::float8[], $34::text[], $35::bytea[], $36::text[], $37::text[], $38::text[]
      ) AS t(id, revision, state, version, gateway, attempt, sending, upstream_no,
        arrived_fen, cost_fen, reason_code, reason_message, payment, payment_expires_at, sent_at,
        queries, unsent, absent_count, absent_since, doubt_code, doubt_message, review_kind,
        noted, delivered, write_token, from_state, cause, about_attempt, code, message,
        evidence, task, due_in, event_key, event_body, message_id, correlation_id, new_reference)
), held AS MATERIALIZED (
    SELECT o.id FROM orders o JOIN input i ON i.id = o.id AND i.revision = o.revision
     ORDER BY o.id FOR NO KEY UPDATE OF o
), moved AS (
    UPDATE orders o
       SET state = i.state, version = i.version, gateway = i.gateway, attempt = i.attempt, sending = i.sending,
           upstream_no = i.upstream_no, arrived_fen = i.arrived_fen, cost_fen = i.cost_fen,
           reason_code = i.reason_code, reason_message = i.reason_message, payment = i.payment,
           payment_expires_at = i.payment_expires_at, sent_at = i.sent_at, queries = i.queries, unsent = i.unsent,
           absent_count = i.absent_count, absent_since = i.absent_since, doubt_code = i.doubt_code,
           doubt_message = i.doubt_message, review_kind = i.review_kind, noted = i.noted, delivered = i.delivered,
           updated_at = CASE WHEN i.version = o.version THEN o.updated_at ELSE now() END,
           revision = o.revision + 1, write_token = i.write_token
      FROM input i, held h
     WHERE h.id = i.id AND o.id = i.id AND o.revision = i.revision
    RETURNING o.id, o.product, o.expires_at
), rung AS (
    DELETE FROM alarms a USING moved m, input i WHERE i.id = m.id AND a.order_id = m.id AND i.task IS NULL
), alarm AS (
    INSERT INTO alarms (order_id, gateway, product, task, due_at, expires_at)
    SELECT m.id, i.gateway, m.product, i.task, now() + make_interval(secs => i.due_in),
           CASE WHEN i.task = 'submit' THEN m.expires_at END
      FROM moved m JOIN input i USING (id)
     WHERE i.task IS NOT NULL AND i.due_in IS NOT NULL
     ORDER BY m.id
        ON CONFLICT (order_id) DO UPDATE
       SET gateway = EXCLUDED.gateway, task = EXCLUDED.task, due_at = EXCLUDED.due_at, expires_at = EXCLUDED.expires_at
), line AS (
    INSERT INTO journal (order_id, version, from_state, to_state, cause, attempt, code, message, evidence)
    SELECT m.id, i.version, i.from_state, i.state, i.cause, i.about_attempt, i.code, i.message, i.evidence
      FROM moved m JOIN input i USING (id)
     WHERE i.cause IS NOT NULL
), numbered AS (
    INSERT INTO attempts (reference, order_id, attempt, gateway)
    SELECT i.new_reference, m.id, i.attempt, i.gateway FROM moved m JOIN input i USING (id)
     WHERE i.new_reference IS NOT NULL
), told AS (
    INSERT INTO outbox (message_id, key, body, correlation_id, held_until)
    SELECT i.message_id, i.event_key, i.event_body, i.correlation_id, now() + interval '10 seconds'
      FROM moved m JOIN input i USING (id)
     WHERE i.event_key IS NOT NULL
    RETURNING id, message_id
)
SELECT m.id, t.id AS outbox_id FROM moved m JOIN input i USING (id) LEFT JOIN told t USING (message_id)
