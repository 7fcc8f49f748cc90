-- Refuses an open order without its alarm, and a closed one with one. It runs once a statement: a batch pays once.
CREATE FUNCTION check_order_alarms() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong text;
BEGIN
    SELECT n.order_no INTO wrong
      FROM written n LEFT JOIN alarms a ON a.order_id = n.id
     WHERE a.task IS DISTINCT FROM CASE
            WHEN n.state = 'queued' THEN 'submit'
            WHEN n.state = 'submitting' THEN 'lease'
            WHEN n.state IN ('unknown', 'pending', 'awaiting_payment') THEN 'query'
        END
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'order %: its alarm does not fit its state', wrong USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;
