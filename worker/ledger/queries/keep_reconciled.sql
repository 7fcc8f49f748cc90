-- Keeps what was found out about attempts; one without an answer stays to be asked.
UPDATE reconciled r
   SET asked_at = CASE WHEN t.answered THEN now() END, class = t.class, state = t.state, answer = t.answer,
       ours_fen = t.ours_fen, theirs_fen = t.theirs_fen, amount_fen = t.amount_fen, cost_fen = t.cost_fen,
       detail = t.detail, action = t.action, applied = t.applied
  FROM unnest(
        $2::text[], $3::bigint[], $4::integer[], $5::boolean[], $6::text[], $7::text[], $8::text[], $9::bigint[],
        $10::bigint[], $11::bigint[], $12::bigint[], $13::text[], $14::text[], $15::text[]
       ) AS t(gateway, order_id, attempt, answered, class, state, answer, ours_fen, theirs_fen, amount_fen, cost_fen,
        detail, action, applied)
 WHERE r.reconciliation_id = $1 AND r.gateway = t.gateway AND r.order_id = t.order_id AND r.attempt = t.attempt
