-- Lets a hint wait that got no answer, unless it was heard again meanwhile.
UPDATE hints SET due_at = now() + make_interval(secs => $5)
 WHERE order_id = $1 AND attempt = $2 AND gateway = $3 AND heard_at = $4
