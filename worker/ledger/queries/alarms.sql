-- When something is next done about these orders.
SELECT order_id, due_at FROM alarms WHERE order_id = ANY($1::bigint[])
