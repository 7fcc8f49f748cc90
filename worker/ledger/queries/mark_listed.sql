-- Notes that everything that a run compares is listed.
UPDATE reconciliations SET listed_at = now() WHERE id = $1
