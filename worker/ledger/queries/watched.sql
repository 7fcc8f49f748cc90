-- Watched orders by gateway and state: how many, for how much money, and for how many seconds the first has been so.
SELECT gateway, state, count(*) AS orders, sum(amount_fen)::bigint AS fen,
       greatest(extract(epoch FROM now() - min(since)), 0)::float8 AS age
  FROM watched
 GROUP BY gateway, state
