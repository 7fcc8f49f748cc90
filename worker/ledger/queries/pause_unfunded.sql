-- Pauses a gateway where our money is used up, until a top-up is seen, or an order may be tried in $3 seconds.
-- A pause by hand stays what it is; in an automatic one the refusal of the order that was tried counts anew.
UPDATE gateways
   SET paused_at = coalesce(paused_at, now()), paused_by = 'worker', pause_note = $2, automatic = true,
       try_at = now() + make_interval(secs => $3), ask_at = now()
 WHERE gateway = $1 AND automatic IS DISTINCT FROM false
RETURNING paused_at
