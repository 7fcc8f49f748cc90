-- Pauses a gateway until a person lifts it; an automatic pause becomes one by hand. Since when is kept.
UPDATE gateways
   SET paused_at = coalesce(paused_at, now()), paused_by = $2, pause_note = $3, automatic = false, try_at = NULL,
       lowest_fen = NULL, needed_fen = NULL
 WHERE gateway = $1
RETURNING paused_at
