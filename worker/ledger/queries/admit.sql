-- Inserts new orders with their alarm, journal line and event; an order_no that exists, or that is a later attempt's
-- number, is left out, and one that could become such a number is taken. Answers the new ones.
WITH input AS MATERIALIZED (
    SELECT *
      FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::bigint[], $5::jsonb[], $6::bytea[], $7::text[], $8::timestamptz[],
        $9::text[], $10::text[], $11::text[], $12::integer[], $13::timestamptz[], $14::bigint[], $15::text[],
        $16::float8[], $17::text[], $18::bytea[]
      ) AS t(order_no, source, product, amount_fen, target, digest, route, expires_at,
        correlation_id, state, gateway, sending, sent_at, write_token, task,
        due_in, event_key, event_body)
), fresh AS (
    INSERT INTO orders (
        order_no, source, product, amount_fen, target, digest, route, expires_at, correlation_id,
        state, version, gateway, attempt, sending, sent_at, write_token
    )
    SELECT order_no, source, product, amount_fen, target, digest, string_to_array(route, ','), expires_at,
           correlation_id, state, 1, gateway, 1, sending, sent_at, write_token
      FROM input
     WHERE NOT EXISTS (SELECT FROM attempts a WHERE a.reference = input.order_no)
     ORDER BY order_no
        ON CONFLICT (order_no) DO NOTHING
    RETURNING id, order_no
), alarm AS (
    INSERT INTO alarms (order_id, gateway, product, task, due_at, expires_at)
    SELECT f.id, i.gateway, i.product, i.task, now() + make_interval(secs => i.due_in),
           CASE WHEN i.task = 'submit' THEN i.expires_at END
      FROM fresh f JOIN input i USING (order_no)
), line AS (
    INSERT INTO journal (order_id, version, to_state, cause, attempt)
    SELECT f.id, 1, i.state, 'admitted', 1 FROM fresh f JOIN input i USING (order_no)
), numbered AS (
    INSERT INTO attempts (reference, order_id, attempt, gateway)
    SELECT f.order_no, f.id, 1, i.gateway FROM fresh f JOIN input i USING (order_no) WHERE is_later_number(f.order_no)
), told AS (
    INSERT INTO outbox (message_id, key, body, correlation_id, held_until)
    SELECT i.order_no || ':1', i.event_key, i.event_body, i.correlation_id, now() + interval '10 seconds'
      FROM fresh f JOIN input i USING (order_no)
     WHERE i.event_key IS NOT NULL
    RETURNING id, message_id
)
SELECT f.order_no, f.id, t.id AS outbox_id FROM fresh f LEFT JOIN told t ON t.message_id = f.order_no || ':1'
