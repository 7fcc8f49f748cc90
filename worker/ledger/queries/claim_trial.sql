-- Takes the right to try one order at a gateway that is paused automatically; the next may in $2 seconds.
UPDATE gateways SET try_at = now() + make_interval(secs => $2)
 WHERE gateway = $1 AND automatic AND try_at <= now()
RETURNING try_at
