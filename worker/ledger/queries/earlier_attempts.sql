-- The attempts of an order that were given up, the oldest first. The first one was at the first gateway of its route.
SELECT 1 AS attempt, o.route[1] AS gateway FROM orders o WHERE o.id = $1 AND o.attempt > 1
UNION ALL
SELECT t.attempt, t.gateway
  FROM attempts t JOIN orders o ON o.id = t.order_id
 WHERE o.id = $1 AND t.attempt > 1 AND t.attempt < o.attempt
 ORDER BY attempt
