-- Takes orders that waited past their expires_at without having been sent.
WITH due AS MATERIALIZED (
    SELECT a.order_id
      FROM alarms a
     WHERE a.expires_at <= now() AND a.task = 'submit'
       AND ($2::text[] IS NULL OR a.product = ANY($2::text[]))
     ORDER BY a.expires_at
     LIMIT $1
       FOR NO KEY UPDATE SKIP LOCKED
), leased AS (
    UPDATE alarms a SET due_at = now() + interval '30 seconds', expires_at = now() + interval '30 seconds'
      FROM due d WHERE a.order_id = d.order_id
    RETURNING a.order_id
)
SELECT o.id, o.order_no, o.source, o.product, o.amount_fen, o.target, o.digest, o.route, o.expires_at, o.correlation_id,
       o.created_at, o.state, o.version, o.gateway, o.attempt, o.sending, o.upstream_no, o.arrived_fen, o.cost_fen,
       o.reason_code, o.reason_message, o.payment, o.payment_expires_at, o.sent_at, o.queries, o.unsent,
       o.absent_count, o.absent_since, o.doubt_code, o.doubt_message, o.review_kind, o.noted, o.delivered,
       o.cancelling, o.updated_at, o.revision, o.write_token, o.trace
  FROM leased l JOIN orders o ON o.id = l.order_id
