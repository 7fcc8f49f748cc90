-- Orders that wait to be sent though calls began, by gateway: those with $1 or more calls in a row that came to nothing.
SELECT a.gateway, count(*) AS orders, (array_agg(o.order_no ORDER BY o.id))[1] AS first,
       extract(epoch FROM now() - min(o.created_at))::float8 AS age
  FROM alarms a JOIN orders o ON o.id = a.order_id
 WHERE a.task = 'submit' AND o.unsent >= $1
 GROUP BY a.gateway
 ORDER BY a.gateway
