-- Lets a run ask again about the differences that it has found and handed to nobody: their answers are not kept.
UPDATE reconciled SET asked_at = NULL
 WHERE reconciliation_id = $1 AND class IS NOT NULL AND applied IS NULL AND asked_at IS NOT NULL
