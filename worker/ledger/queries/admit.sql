-- Inserts new orders with their alarm, journal line and event; an order_no that exists, or that is a later attempt's
-- number, is left out, and one that could become such a number is taken. Answers the new orders, then their events.
-- As in `step.sql`, `(… IN …) IS TRUE` keeps the planner from quadratic joins.
WITH input AS MATERIALIZED (
    SELECT nextval('orders_id_seq') AS id, t.*
      FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::bigint[], $5::jsonb[], $6::bytea[], $7::text[], $8::timestamptz[],
        $9::text[], $10::text[], $11::text[], $12::integer[], $13::timestamptz[], $14::bigint[], $15::text[],
        $16::float8[], $17::text[], $18::bytea[], $19::timestamptz[], $20::text[]
      ) AS t(order_no, source, product, amount_fen, target, digest, route, expires_at,
        correlation_id, state, gateway, sending, sent_at, write_token, task,
        due_in, event_key, event_body, at, trace)
), fresh AS (
    INSERT INTO orders (
        id, order_no, source, product, amount_fen, target, digest, route, expires_at, correlation_id,
        state, version, gateway, attempt, sending, sent_at, write_token, updated_at, trace
    ) OVERRIDING SYSTEM VALUE
    SELECT id, order_no, source, product, amount_fen, target, digest, string_to_array(route, ','), expires_at,
           correlation_id, state, 1, gateway, 1, sending, sent_at, write_token, at, trace
      FROM input
     WHERE NOT EXISTS (SELECT FROM attempts a WHERE a.reference = input.order_no)
     ORDER BY order_no
        ON CONFLICT (order_no) DO NOTHING
    RETURNING id, order_no, state, gateway
), alarm AS (
    INSERT INTO alarms (order_id, gateway, product, task, due_at, expires_at)
    SELECT id, gateway, product, task, now() + make_interval(secs => due_in),
           CASE WHEN task = 'submit' THEN expires_at END
      FROM input
     WHERE (id IN (SELECT id FROM fresh)) IS TRUE
), line AS (
    INSERT INTO journal (order_id, version, to_state, cause, attempt)
    SELECT id, 1, state, 'admitted', 1 FROM fresh
), numbered AS (
    INSERT INTO attempts (reference, order_id, attempt, gateway)
    SELECT order_no, id, 1, gateway FROM fresh WHERE is_later_number(order_no)
), told AS (
    INSERT INTO outbox (message_id, key, body, correlation_id, trace, held_until)
    SELECT order_no || ':1', event_key, event_body, correlation_id, trace, now() + interval '10 seconds'
      FROM input
     WHERE event_key IS NOT NULL AND (id IN (SELECT id FROM fresh)) IS TRUE
    RETURNING id, message_id
)
SELECT order_no, id, NULL AS message_id, NULL AS outbox_id FROM fresh
UNION ALL
SELECT NULL, NULL, message_id, id FROM told
