-- Removes a hint that was answered, unless it was heard again after the question.
DELETE FROM hints WHERE order_id = $1 AND attempt = $2 AND gateway = $3 AND heard_at = $4
