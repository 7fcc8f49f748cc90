-- Takes the turn to ask for the balances that are due. Each is due again after its interval in $2, or, while its gateway
-- is paused automatically, in $3.
WITH due AS MATERIALIZED (
    SELECT g.gateway, t.every, t.unfunded_every
      FROM unnest($1::text[], $2::float8[], $3::float8[]) AS t(gateway, every, unfunded_every)
      JOIN gateways g ON g.gateway = t.gateway
     WHERE g.ask_at <= now()
       FOR NO KEY UPDATE OF g SKIP LOCKED
)
UPDATE gateways g
   SET ask_at = now() + make_interval(secs => CASE WHEN g.automatic THEN d.unfunded_every ELSE d.every END)
  FROM due d
 WHERE g.gateway = d.gateway
RETURNING g.gateway
