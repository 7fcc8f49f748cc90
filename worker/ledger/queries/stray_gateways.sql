-- Gateways with open orders or hints that are not configured here; a loose scan, so that it costs two look-ups a gateway.
WITH RECURSIVE waiting AS (
    SELECT least((SELECT min(gateway) FROM alarms), (SELECT min(gateway) FROM hints)) AS gateway
    UNION ALL
    SELECT least(
            (SELECT min(a.gateway) FROM alarms a WHERE a.gateway > w.gateway),
            (SELECT min(h.gateway) FROM hints h WHERE h.gateway > w.gateway)
        )
      FROM waiting w
     WHERE w.gateway IS NOT NULL
)
SELECT gateway FROM waiting WHERE gateway IS NOT NULL AND gateway <> ALL($1::text[])
