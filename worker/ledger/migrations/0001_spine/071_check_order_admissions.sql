-- Refuses a new order without its first line in the journal.
CREATE FUNCTION check_order_admissions() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong text;
BEGIN
    SELECT n.order_no INTO wrong
      FROM written n
     WHERE n.version <> 1 OR NOT EXISTS (
        SELECT FROM journal j
         WHERE j.order_id = n.id AND j.version = 1 AND j.at = now() AND j.from_state IS NULL AND j.to_state = n.state
     )
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'order %: admitted without its line in the journal', wrong USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;
