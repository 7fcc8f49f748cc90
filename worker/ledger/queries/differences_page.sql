-- The next differences that a run has found; ($2, $3, $4) is the last of the page before.
SELECT r.gateway, r.order_id, r.attempt, o.order_no, o.product, o.source, r.asked_at, r.class, r.state, r.answer,
       r.ours_fen, r.theirs_fen, r.amount_fen, r.detail, r.action, r.applied
  FROM reconciled r JOIN orders o ON o.id = r.order_id
 WHERE r.reconciliation_id = $1 AND r.class IS NOT NULL AND (r.gateway, r.order_id, r.attempt) > ($2, $3, $4)
 ORDER BY r.gateway, r.order_id, r.attempt
 LIMIT $5
