-- As before; and what its producer asked to cancel gets no new attempt unless a person says so.
CREATE OR REPLACE FUNCTION check_order_steps() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong text;
BEGIN
    SELECT n.order_no INTO wrong
      FROM written n JOIN before b ON b.id = n.id
     WHERE n.revision <> b.revision + 1
        OR n.version NOT IN (b.version, b.version + 1)
        OR n.sending < b.sending
        OR (n.version = b.version AND (
            (n.state, n.attempt, n.sending, n.arrived_fen, n.cost_fen, n.delivered, n.sent_at)
            IS DISTINCT FROM
            (b.state, b.attempt, b.sending, b.arrived_fen, b.cost_fen, b.delivered, b.sent_at)
        ))
        OR (n.attempt = b.attempt AND n.gateway <> b.gateway)
        OR (n.attempt <> b.attempt AND (n.attempt < b.attempt OR NOT EXISTS (
            SELECT FROM attempts a
             WHERE a.reference = n.order_no || 'R' || n.attempt AND a.order_id = n.id AND a.attempt = n.attempt
        )))
        OR (n.attempt <> b.attempt AND (n.state <> 'queued' OR NOT EXISTS (
            SELECT FROM journal j
             WHERE j.order_id = n.id AND j.version = n.version AND j.at = now()
               AND (j.cause = 'resubmitted' OR (NOT b.cancelling AND j.cause IN ('rejected', 'refused', 'unfunded')))
        )))
        OR (n.version > b.version AND NOT EXISTS (
            SELECT FROM journal j
             WHERE j.order_id = n.id AND j.version = n.version AND j.at = now()
               AND j.from_state = b.state AND j.to_state = n.state
               AND (
                    coalesce(j.evidence, 'null') NOT IN ('null', '{}', '[]', '""')
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
