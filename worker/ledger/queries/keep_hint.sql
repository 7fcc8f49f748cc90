-- Keeps a hint, to be asked about in $4 seconds; the same again is news, whatever became of the questions until now.
INSERT INTO hints (order_id, attempt, gateway, due_at)
VALUES ($1, $2, $3, now() + make_interval(secs => $4))
ON CONFLICT (order_id, attempt, gateway) DO UPDATE
   SET heard_at = now(), due_at = least(hints.due_at, EXCLUDED.due_at), asked = 0
