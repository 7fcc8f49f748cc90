-- Takes a card in hand: together with others where its gateway has it just so ($6), else alone, to change it.
-- No row: it is in other hands, which may change it while we use it, or use it while we change it.
INSERT INTO cards AS c (gateway, owner, kind, key, shown, token, held_until)
VALUES ($1, $2, $3, $4, $5, $7, now() + make_interval(secs => $8))
ON CONFLICT (gateway, owner, kind, key) DO UPDATE SET
    digest = CASE WHEN c.digest = $6 THEN c.digest END,
    changing = c.digest IS DISTINCT FROM $6,
    token = CASE WHEN c.digest = $6 THEN c.token ELSE $7 END,
    users = CASE WHEN c.digest IS DISTINCT FROM $6 THEN 0 WHEN c.held_until > now() THEN c.users + 1 ELSE 1 END,
    held_until = CASE
        WHEN c.digest = $6 AND c.users > 0 THEN greatest(c.held_until, excluded.held_until)
        ELSE excluded.held_until
    END
 WHERE c.held_until <= now()
    OR (c.changing AND c.token = $7)
    OR (NOT c.changing AND (c.users = 0 OR c.digest = $6))
RETURNING card_id, NOT changing AS current, now() + make_interval(secs => $8) AS until
