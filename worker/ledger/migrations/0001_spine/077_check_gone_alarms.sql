-- Refuses to take the alarm from an order that is still open.
CREATE FUNCTION check_gone_alarms() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong text;
BEGIN
    SELECT o.order_no INTO wrong
      FROM gone g JOIN orders o ON o.id = g.order_id
     WHERE task_of(o.state) IS NOT NULL AND NOT EXISTS (SELECT FROM alarms a WHERE a.order_id = g.order_id)
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'order %: it is open and must keep an alarm', wrong USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;
