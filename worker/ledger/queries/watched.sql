-- Watched orders by gateway and state: how many, for how much money, and for how many seconds the first has been so. One
-- in doubt has been since it was first sent: where submits are lost it goes round, and is anew in its state each time.
SELECT w.gateway, w.state, count(*) AS orders, sum(w.amount_fen)::bigint AS fen,
       greatest(extract(epoch FROM now() - min(
           CASE w.state WHEN 'unknown' THEN (SELECT o.sent_at FROM orders o WHERE o.id = w.order_id) ELSE w.since END
       )), 0)::float8 AS age
  FROM watched w
 GROUP BY w.gateway, w.state
