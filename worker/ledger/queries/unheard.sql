-- What waits to be heard: events in the outbox and the seconds that the first of them has waited, in
-- the row without a gateway; then the hints of each gateway. Both are counted up to $1, by indexes alone.
WITH RECURSIVE present AS (
    SELECT min(gateway) AS gateway FROM hints
    UNION ALL
    SELECT (SELECT min(h.gateway) FROM hints h WHERE h.gateway > p.gateway) FROM present p WHERE p.gateway IS NOT NULL
)
SELECT NULL AS gateway, (
        SELECT count(*) FROM (SELECT FROM outbox WHERE held_until > '-infinity' ORDER BY held_until LIMIT $1) counted
    ) AS waiting,
    coalesce((
        SELECT greatest(extract(epoch FROM now() - o.created_at), 0) FROM outbox o ORDER BY o.id LIMIT 1
    ), 0)::float8 AS age
UNION ALL
SELECT p.gateway, (
        SELECT count(*) FROM (SELECT FROM hints h WHERE h.gateway = p.gateway ORDER BY h.due_at LIMIT $1) counted
    ), 0
  FROM present p
 WHERE p.gateway IS NOT NULL
