-- The journal of one order, oldest first.
SELECT version, at, from_state, to_state, cause, attempt, code, message, evidence
  FROM journal
 WHERE order_id = $1
 ORDER BY at, version
