-- Removes a card that we change now, since its gateway does not have it any more.
DELETE FROM cards WHERE gateway = $1 AND owner = $2 AND kind = $3 AND key = $4 AND changing AND token = $5
