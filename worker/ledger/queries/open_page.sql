-- The next orders that are open, and whose latest attempt was sent from $1 on and before $2; $3 is the last one of the
-- page before.
SELECT a.order_id
  FROM alarms a JOIN orders o ON o.id = a.order_id
 WHERE a.order_id > $3 AND o.sent_at >= $1 AND o.sent_at < $2
 ORDER BY a.order_id
 LIMIT $4
