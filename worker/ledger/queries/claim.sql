-- Takes orders whose alarm is due, the longest overdue first, and leases them: their alarm moves to the lease's end.
-- Whoever dies with a claim leaves an alarm behind that rings again.
WITH due AS MATERIALIZED (
    SELECT a.order_id
      FROM alarms a
     WHERE a.gateway = $1 AND a.task = $2 AND a.due_at <= now()
       AND ($3::text[] IS NULL OR a.product = ANY($3::text[]))
     ORDER BY a.due_at
     LIMIT $4
       FOR NO KEY UPDATE SKIP LOCKED
), leased AS (
    UPDATE alarms a SET due_at = now() + make_interval(secs => $5) FROM due d WHERE a.order_id = d.order_id
    RETURNING a.order_id
)
SELECT o.id, o.order_no, o.source, o.product, o.amount_fen, o.target, o.digest, o.route, o.expires_at, o.correlation_id,
       o.created_at, o.state, o.version, o.gateway, o.attempt, o.sending, o.upstream_no, o.arrived_fen, o.cost_fen,
       o.reason_code, o.reason_message, o.payment, o.payment_expires_at, o.sent_at, o.queries, o.unsent,
       o.absent_count, o.absent_since, o.doubt_code, o.doubt_message, o.review_kind, o.noted, o.delivered,
       o.cancelling, o.updated_at, o.revision, o.write_token, o.trace
  FROM leased l JOIN orders o ON o.id = l.order_id
