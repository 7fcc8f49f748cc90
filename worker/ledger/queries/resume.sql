-- Lifts a pause: any, or, where $2 is given, only the automatic one that began then. Answers what was lifted.
WITH held AS MATERIALIZED (
    SELECT gateway, paused_at, paused_by, pause_note, automatic
      FROM gateways
     WHERE gateway = $1 AND paused_at IS NOT NULL AND ($2::timestamptz IS NULL OR (automatic AND paused_at = $2))
       FOR NO KEY UPDATE
)
UPDATE gateways g
   SET paused_at = NULL, paused_by = NULL, pause_note = NULL, automatic = NULL, try_at = NULL, lowest_fen = NULL,
       needed_fen = NULL
  FROM held h
 WHERE g.gateway = h.gateway
RETURNING h.paused_at, h.paused_by, h.pause_note, h.automatic
