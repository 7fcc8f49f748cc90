-- The next attempts at a gateway that a run has no answer about, with their orders; ($3, $4) is the last of the page
-- before.
SELECT r.attempt AS asked_attempt, o.id, o.order_no, o.source, o.product, o.amount_fen, o.target, o.digest, o.route,
       o.expires_at, o.correlation_id, o.created_at, o.state, o.version, o.gateway, o.attempt, o.sending, o.upstream_no,
       o.arrived_fen, o.cost_fen, o.reason_code, o.reason_message, o.payment, o.payment_expires_at, o.sent_at,
       o.queries, o.unsent, o.absent_count, o.absent_since, o.doubt_code, o.doubt_message, o.review_kind, o.noted,
       o.delivered, o.cancelling, o.updated_at, o.revision, o.write_token, o.trace
  FROM reconciled r JOIN orders o ON o.id = r.order_id
 WHERE r.reconciliation_id = $1 AND r.gateway = $2 AND r.asked_at IS NULL AND (r.order_id, r.attempt) > ($3, $4)
 ORDER BY r.order_id, r.attempt
 LIMIT $5
