-- Puts the current state of known orders into the outbox again, for producers that sent an order once more.
INSERT INTO outbox (message_id, key, body, correlation_id, trace, held_until)
SELECT message_id, key, body, correlation_id, trace, now() + interval '10 seconds'
  FROM unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::text[])
    AS t(message_id, key, body, correlation_id, trace)
RETURNING id, message_id, key, body, correlation_id, trace
