-- Refuses an alarm that does not fit its order, or that has none.
CREATE FUNCTION check_alarms() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong bigint;
BEGIN
    SELECT w.order_id INTO wrong
      FROM written w LEFT JOIN orders o ON o.id = w.order_id
     WHERE (w.task, w.gateway, w.product) IS DISTINCT FROM (task_of(o.state), o.gateway, o.product)
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the alarm of order % does not fit it', wrong USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;
