-- Finds whose later attempt a number is.
SELECT o.order_no, a.attempt, a.gateway
  FROM attempts a JOIN orders o ON o.id = a.order_id
 WHERE a.reference = $1
