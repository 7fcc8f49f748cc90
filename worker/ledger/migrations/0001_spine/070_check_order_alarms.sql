-- Refuses an open order without its alarm, and a closed one with one. It runs once a statement: a batch pays once.
CREATE FUNCTION check_order_alarms() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong text;
BEGIN
    SELECT n.order_no INTO wrong
      FROM written n LEFT JOIN alarms a ON a.order_id = n.id
     WHERE a.task IS DISTINCT FROM task_of(n.state) OR a.gateway <> n.gateway
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'order %: its alarm does not fit its state', wrong USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;
