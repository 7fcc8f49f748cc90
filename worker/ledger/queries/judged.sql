-- Whether a person has brought order $1 to its version $2, and had the contradiction $4 about attempt $3 before him: with
-- the message $5, or by the same answer as the evidence $6 has, whatever was asked and when (wikeyun tells the time).
SELECT EXISTS (
        SELECT FROM journal d
         WHERE d.order_id = $1 AND d.version = $2 AND d.from_state = 'review'
           AND d.cause IN ('resolved_succeeded', 'resolved_failed')
       ) AND EXISTS (
        SELECT FROM journal j
         WHERE j.order_id = $1 AND j.version < $2 AND j.attempt = $3 AND j.cause = $4 AND j.to_state = 'review'
           AND (j.message = $5 OR j.evidence - '{request,earlier}'::text[] #- '{reply,time}'
                = $6::jsonb - '{request,earlier}'::text[] #- '{reply,time}')
       )
