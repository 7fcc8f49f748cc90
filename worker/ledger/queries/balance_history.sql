-- The balances of a gateway that were read from $2 on and before $3, with the last one before and the first one after.
SELECT at, balance_fen
  FROM balances
 WHERE gateway = $1
   AND at >= coalesce((SELECT max(at) FROM balances WHERE gateway = $1 AND at < $2), $2)
   AND at <= coalesce((SELECT min(at) FROM balances WHERE gateway = $1 AND at >= $3), $3)
 ORDER BY at
