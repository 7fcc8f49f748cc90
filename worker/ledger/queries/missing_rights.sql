-- What the present user may not do with tables and sequences that are there, though the worker, their own triggers, or
-- a check does it: as the words of a GRANT.
WITH needed (kind, name, rights) AS (
    VALUES
        ('', 'orders', 'SELECT INSERT UPDATE'), ('SEQUENCE ', 'orders_id_seq', 'USAGE'),
        ('', 'alarms', 'SELECT INSERT UPDATE DELETE'), ('', 'watched', 'SELECT INSERT UPDATE DELETE'),
        ('', 'attempts', 'SELECT INSERT'), ('', 'journal', 'SELECT INSERT'), ('', 'journal_default', 'SELECT'),
        ('', 'outbox', 'SELECT INSERT UPDATE DELETE'),
        ('', 'hints', 'SELECT INSERT UPDATE DELETE'), ('', 'cards', 'SELECT INSERT UPDATE DELETE'),
        ('', 'gateways', 'SELECT INSERT UPDATE'), ('', 'balances', 'SELECT INSERT'),
        ('', 'heartbeats', 'SELECT INSERT UPDATE DELETE'), ('', 'transitions', 'SELECT'),
        ('', 'schema_version', 'SELECT')
)
SELECT name, string_agg(one, ', ') || ' ON ' || kind || name AS rights
  FROM needed, unnest(string_to_array(needed.rights, ' ')) AS one
 WHERE to_regclass(name) IS NOT NULL
   AND NOT CASE kind WHEN '' THEN has_table_privilege(name, one) ELSE has_sequence_privilege(name, one) END
 GROUP BY kind, name
 ORDER BY name
