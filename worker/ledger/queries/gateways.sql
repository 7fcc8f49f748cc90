-- What all workers share about these gateways.
SELECT gateway, paused_at, paused_by, pause_note, automatic, try_at, lowest_fen, needed_fen, balance_fen, balance_at,
       spent_per_hour_fen
  FROM gateways
 WHERE gateway = ANY($1::text[])
