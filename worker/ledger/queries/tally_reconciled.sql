-- What a run has found so far, by gateway: how much is listed and answered, and between which moments it was asked.
SELECT gateway, count(*) AS listed, count(asked_at) AS answered, count(class) AS differing,
       min(asked_at) AS first_asked_at, max(asked_at) AS last_asked_at
  FROM reconciled
 WHERE reconciliation_id = $1
 GROUP BY gateway
 ORDER BY gateway
