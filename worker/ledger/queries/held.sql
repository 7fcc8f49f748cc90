-- Of these orders, those with an attempt at gateway $2: what each is worth, and where it stood at $3, at $4 and stands
-- now. A cost that the ledger was not told is the one that run $5 has heard of.
SELECT o.gateway = $2 AS here, o.amount_fen, coalesce(o.cost_fen, r.cost_fen) AS cost_fen, o.arrived_fen,
       (SELECT j.to_state FROM journal j WHERE j.order_id = o.id AND j.at <= $3 ORDER BY j.version DESC LIMIT 1)
           AS at_start,
       (SELECT j.to_state FROM journal j WHERE j.order_id = o.id AND j.at <= $4 ORDER BY j.version DESC LIMIT 1)
           AS at_end,
       o.state AS now
  FROM orders o
  LEFT JOIN reconciled r
    ON r.reconciliation_id = $5 AND r.gateway = $2 AND r.order_id = o.id AND r.attempt = o.attempt
 WHERE o.id = ANY($1::bigint[])
   AND (o.gateway = $2 OR (o.attempt > 1 AND (
        o.route[1] = $2 OR $2 = ANY (ARRAY(SELECT t.gateway FROM attempts t WHERE t.order_id = o.id))
   )))
