-- How the server is, in a session like the worker's: whether a commit survives its crash, whether it takes writes, and
-- how many more clients it lets in.
SELECT current_setting('server_version') AS version, current_setting('server_version_num')::integer AS number,
       current_setting('synchronous_commit') AS synchronous_commit, current_setting('fsync') AS fsync,
       current_setting('full_page_writes') AS full_page_writes,
       current_setting('transaction_read_only') = 'on' AS read_only, current_setting('TimeZone') AS time_zone,
       current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
           - coalesce(current_setting('reserved_connections', true)::integer, 0)
           - (SELECT sum(numbackends) FROM pg_stat_database)::integer AS free_connections
