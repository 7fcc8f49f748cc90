-- Ends a run with its result; NULL: it was given up. Answers nothing where somebody else has ended it.
UPDATE reconciliations SET finished_at = now(), compared = $2, differences = $3
 WHERE id = $1 AND finished_at IS NULL
RETURNING id
