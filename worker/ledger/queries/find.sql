-- Reads orders by their numbers.
SELECT o.id, o.order_no, o.source, o.product, o.amount_fen, o.target, o.digest, o.route, o.expires_at, o.correlation_id,
       o.created_at, o.state, o.version, o.gateway, o.attempt, o.sending, o.upstream_no, o.arrived_fen, o.cost_fen,
       o.reason_code, o.reason_message, o.payment, o.payment_expires_at, o.sent_at, o.queries, o.unsent,
       o.absent_count, o.absent_since, o.doubt_code, o.doubt_message, o.review_kind, o.noted, o.delivered,
       o.cancelling, o.updated_at, o.revision, o.write_token, o.trace
  FROM orders o
 WHERE o.order_no = ANY($1::text[])
