-- Gateways with open orders that are not configured here; a loose scan, so that it costs a look-up a gateway.
WITH RECURSIVE waiting AS (
    SELECT min(gateway) AS gateway FROM alarms
    UNION ALL
    SELECT (SELECT min(a.gateway) FROM alarms a WHERE a.gateway > w.gateway) FROM waiting w WHERE w.gateway IS NOT NULL
)
SELECT gateway FROM waiting WHERE gateway IS NOT NULL AND gateway <> ALL($1::text[])
