-- Whether a commit survives a crash of the server, in a session like the worker's.
SELECT current_setting('server_version') AS version, current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('fsync') AS fsync
