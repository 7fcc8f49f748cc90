-- Begins a run, unless one of the same period was interrupted: then that one goes on.
WITH begun AS (
    INSERT INTO reconciliations (since, until, gateway) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
    RETURNING id, started_at, listed_at
)
SELECT id, started_at, listed_at FROM begun
UNION ALL
SELECT id, started_at, listed_at
  FROM reconciliations
 WHERE since = $1 AND until = $2 AND gateway IS NOT DISTINCT FROM $3 AND finished_at IS NULL
