-- The transaction of somebody else that has been open longest, and for longer than $1 seconds.
SELECT pid, usename::text AS usename, application_name, state,
       extract(epoch FROM now() - xact_start)::float8 AS seconds
  FROM pg_stat_activity
 WHERE xact_start < now() - make_interval(secs => $1) AND pid <> pg_backend_pid() AND backend_type = 'client backend'
 ORDER BY xact_start
 LIMIT 1
