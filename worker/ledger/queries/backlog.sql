-- Open orders by gateway and task: how many, how many are due, and for how many seconds the first of them has been.
-- Also those of gateways that are not configured here. Reads the index `alarms_due` alone, and nothing of closed orders.
WITH RECURSIVE present AS (
    SELECT min(gateway) AS gateway FROM alarms
    UNION ALL
    SELECT (SELECT min(a.gateway) FROM alarms a WHERE a.gateway > p.gateway) FROM present p WHERE p.gateway IS NOT NULL
)
SELECT p.gateway, t.task, found.orders, found.due, greatest(extract(epoch FROM now() - found.first), 0)::float8 AS overdue
  FROM present p
 CROSS JOIN (VALUES ('submit'), ('lease'), ('query')) AS t (task)
 CROSS JOIN LATERAL (
    SELECT count(*) AS orders, count(*) FILTER (WHERE a.due_at <= now()) AS due, min(a.due_at) AS first
      FROM alarms a
     WHERE a.gateway = p.gateway AND a.task = t.task
 ) found
 WHERE p.gateway IS NOT NULL
