-- Keeps a balance of the moment $2, and what follows from it: how fast it is spent, by the readings of the last $4
-- seconds (what a top-up added is not subtracted), and in an automatic pause the least that was there and that is needed.
WITH kept AS (
    INSERT INTO balances (gateway, at, balance_fen) VALUES ($1, $2, $3) ON CONFLICT (gateway, at) DO NOTHING
), readings AS (
    SELECT at, balance_fen FROM balances
     WHERE gateway = $1 AND at > $2::timestamptz - make_interval(secs => $4) AND at < $2
    UNION ALL
    SELECT $2, $3
), steps AS (
    SELECT at, lag(balance_fen) OVER (ORDER BY at) - balance_fen AS spent_fen FROM readings
), rate AS (
    SELECT round(sum(greatest(spent_fen, 0)) * 3600 / nullif(extract(epoch FROM max(at) - min(at)), 0)) AS per_hour
      FROM steps
), waiting AS (
    SELECT min(o.amount_fen) AS fen
      FROM (SELECT order_id FROM alarms WHERE gateway = $1 AND task = 'submit' ORDER BY due_at LIMIT 500) a
      JOIN orders o ON o.id = a.order_id
)
UPDATE gateways g
   SET balance_fen = $3, balance_at = $2, spent_per_hour_fen = rate.per_hour,
       lowest_fen = CASE WHEN g.automatic AND g.paused_at < $2 THEN least(g.lowest_fen, $3) ELSE g.lowest_fen END,
       needed_fen = CASE WHEN g.automatic THEN waiting.fen END
  FROM rate, waiting
 WHERE g.gateway = $1 AND (g.balance_at IS NULL OR g.balance_at < $2)
