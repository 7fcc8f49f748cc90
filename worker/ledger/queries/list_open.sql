-- As `list.sql`, for orders that have an alarm with one of the tasks $14 or are watched in one of the states $15: found
-- there, whatever number of others there is. The caller sees to it that none is found in both.
SELECT o.id, o.order_no, o.source, o.product, o.amount_fen, o.target, o.digest, o.route, o.expires_at, o.correlation_id,
       o.created_at, o.state, o.version, o.gateway, o.attempt, o.sending, o.upstream_no, o.arrived_fen, o.cost_fen,
       o.reason_code, o.reason_message, o.payment, o.payment_expires_at, o.sent_at, o.queries, o.unsent,
       o.absent_count, o.absent_since, o.doubt_code, o.doubt_message, o.review_kind, o.noted, o.delivered,
       o.cancelling, o.updated_at, o.revision, o.write_token, o.trace
  FROM (
    SELECT a.order_id FROM alarms a WHERE a.order_id > $11 AND a.order_id < $12 AND a.task = ANY($14::text[])
    UNION ALL
    SELECT w.order_id FROM watched w WHERE w.order_id > $11 AND w.order_id < $12 AND w.state = ANY($15::text[])
) c
  JOIN orders o ON o.id = c.order_id
 WHERE ($1::text[] IS NULL OR o.state = ANY($1::text[]))
   AND ($2::text IS NULL OR o.gateway = $2)
   AND ($3::text IS NULL OR o.product = $3)
   AND ($4::text IS NULL OR o.source = $4)
   AND ($5::text IS NULL OR o.reason_code = $5)
   AND ($6::timestamptz IS NULL OR o.created_at >= $6)
   AND ($7::timestamptz IS NULL OR o.created_at < $7)
   AND ($8::timestamptz IS NULL OR o.updated_at < $8)
   AND ($9::bigint IS NULL OR o.amount_fen >= $9)
   AND ($10::bigint IS NULL OR o.amount_fen <= $10)
 ORDER BY c.order_id DESC
 LIMIT $13
