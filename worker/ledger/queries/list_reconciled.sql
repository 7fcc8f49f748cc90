-- Lists what a run compares of these orders: each attempt that may have reached a gateway, of one gateway or of all. A
-- person may have to decide about one that, by us, did not.
INSERT INTO reconciled (reconciliation_id, gateway, order_id, attempt)
SELECT $1, a.gateway, o.id, a.attempt
  FROM orders o
 CROSS JOIN LATERAL (
        SELECT o.gateway, o.attempt WHERE o.sent_at IS NOT NULL OR o.state = 'review'
         UNION ALL
        SELECT o.route[1], 1 WHERE o.attempt > 1
         UNION ALL
        SELECT t.gateway, t.attempt FROM attempts t WHERE t.order_id = o.id AND t.attempt > 1 AND t.attempt < o.attempt
       ) a
 WHERE o.id = ANY($2::bigint[]) AND ($3::text IS NULL OR a.gateway = $3)
    ON CONFLICT DO NOTHING
