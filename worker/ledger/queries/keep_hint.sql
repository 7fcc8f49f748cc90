-- Keeps a hint, to be asked about at once; the same again is news, whatever became of the questions until now.
INSERT INTO hints (order_id, attempt, gateway)
VALUES ($1, $2, $3)
ON CONFLICT (order_id, attempt, gateway) DO UPDATE SET heard_at = now(), due_at = now(), asked = 0
