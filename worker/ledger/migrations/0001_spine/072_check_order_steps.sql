-- Refuses a change that is not one step of the journal, an end without evidence, and any change of what was asked for.
CREATE FUNCTION check_order_steps() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong text;
BEGIN
    SELECT n.order_no INTO wrong
      FROM written n JOIN before b ON b.id = n.id
     WHERE n.revision <> b.revision + 1
        OR n.order_no <> b.order_no OR n.amount_fen <> b.amount_fen OR n.digest <> b.digest
        OR n.version NOT IN (b.version, b.version + 1)
        OR (n.version = b.version AND (n.state <> b.state OR n.attempt <> b.attempt))
        OR (n.version > b.version AND NOT EXISTS (
            SELECT FROM journal j
             WHERE j.order_id = n.id AND j.version = n.version AND j.at = now()
               AND j.from_state = b.state AND j.to_state = n.state
               AND (
                    j.evidence IS NOT NULL
                    OR n.state NOT IN ('succeeded', 'partial', 'failed', 'cancelled', 'refunded')
               )
        ))
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'order %: not a step of its journal, or an end without evidence', wrong
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;
