-- How many months, this one first, have their partition of the journal without a gap (looking at most $1 ahead), and
-- whether lines were written while theirs was missing.
WITH months AS (
    SELECT n, to_regclass('journal_' || to_char(now() AT TIME ZONE 'UTC' + make_interval(months => n), 'YYYY_MM'))
           IS NOT NULL AS made
      FROM generate_series(0, $1::integer) AS n
)
SELECT coalesce(min(n) FILTER (WHERE NOT made), $1 + 1) AS months, EXISTS (SELECT FROM journal_default) AS strays
  FROM months
