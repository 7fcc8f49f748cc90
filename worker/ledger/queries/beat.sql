-- Writes what a worker knows of its gateways, and removes what workers left that are gone.
WITH gone AS (
    DELETE FROM heartbeats WHERE at < now() - interval '5 minutes' AND worker <> $1
)
INSERT INTO heartbeats (worker, gateway, breaker, in_flight)
SELECT $1, gateway, breaker, in_flight
  FROM unnest($2::text[], $3::text[], $4::integer[]) AS t(gateway, breaker, in_flight)
 ORDER BY gateway
ON CONFLICT (worker, gateway) DO UPDATE
SET breaker = EXCLUDED.breaker, in_flight = EXCLUDED.in_flight, at = now()
