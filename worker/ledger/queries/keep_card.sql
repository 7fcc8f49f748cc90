-- Writes what is known of a card that we change now; with its digest it is shared from now on.
-- An id that stood for another card does not any more: the gateway has just said what it stands for.
WITH stale AS (
    DELETE FROM cards
     WHERE gateway = $1 AND owner = $2 AND kind = $3 AND card_id = $6 AND key <> $4
    RETURNING key
)
UPDATE cards SET
    card_id = $6,
    digest = $7,
    users = CASE WHEN $7::bytea IS NULL THEN 0 WHEN changing THEN 1 ELSE users END,
    changing = $7::bytea IS NULL,
    changed_at = now()
 WHERE gateway = $1 AND owner = $2 AND kind = $3 AND key = $4 AND token = $5
   AND (SELECT count(*) FROM stale) >= 0
RETURNING key
