-- Makes a row for each of these gateways that has none.
INSERT INTO gateways (gateway)
SELECT gateway FROM unnest($1::text[]) AS t(gateway) ORDER BY gateway
ON CONFLICT (gateway) DO NOTHING
