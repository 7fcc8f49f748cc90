-- Lets go of a card: of our change of it ($6 false), or of one use of it, unless that has ended by itself ($7): others
-- may have begun to count anew, and would be let go of.
UPDATE cards SET changing = changing AND $6, users = greatest(users - CASE WHEN $6 THEN 1 ELSE 0 END, 0)
 WHERE gateway = $1 AND owner = $2 AND kind = $3 AND key = $4
   AND CASE WHEN $6 THEN NOT changing AND coalesce(now() < $7, true) ELSE changing AND token = $5 END
