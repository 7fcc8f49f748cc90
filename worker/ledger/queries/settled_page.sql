-- The next orders that were settled, or handed to a person, from $1 on and before $2; ($3, $4) is the last of the page
-- before. The condition is that of the index `journal_settled`.
SELECT at, order_id
  FROM journal
 WHERE to_state IN ('succeeded', 'partial', 'failed', 'cancelled', 'refunded', 'review')
   AND from_state IS DISTINCT FROM to_state
   AND at >= $1 AND at < $2
   AND (at, order_id) > ($3::timestamptz, $4::bigint)
 ORDER BY at, order_id
 LIMIT $5
