-- Returns what is known of the card with our key, and of the one with the gateway's id; either may be null.
SELECT key, shown, card_id FROM cards WHERE gateway = $1 AND owner = $2 AND kind = $3 AND key = $4
UNION
SELECT key, shown, card_id FROM cards WHERE gateway = $1 AND owner = $2 AND kind = $3 AND card_id = $5
