-- Takes hints of one gateway that are due, the longest overdue first, and leases them as `claim.sql` does alarms.
WITH due AS MATERIALIZED (
    SELECT h.order_id, h.attempt
      FROM hints h
     WHERE h.gateway = $1 AND h.due_at <= now()
     ORDER BY h.due_at
     LIMIT $2
       FOR NO KEY UPDATE SKIP LOCKED
), leased AS (
    UPDATE hints h SET due_at = now() + make_interval(secs => $3), asked = h.asked + 1
      FROM due d WHERE h.order_id = d.order_id AND h.attempt = d.attempt AND h.gateway = $1
    RETURNING h.order_id, h.attempt, h.gateway, h.heard_at, h.asked
)
SELECT l.order_id, o.order_no, l.attempt, l.gateway, l.heard_at, l.asked
  FROM leased l JOIN orders o ON o.id = l.order_id
