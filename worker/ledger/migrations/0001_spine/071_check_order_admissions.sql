-- Refuses a new order without its first line in the journal, or whose number could become another's later attempt.
CREATE FUNCTION check_order_admissions() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong text;
BEGIN
    SELECT n.order_no INTO wrong
      FROM written n
     WHERE (n.version, n.revision, n.attempt) <> (1, 1, 1)
        OR NOT EXISTS (
        SELECT FROM journal j
         WHERE j.order_id = n.id AND j.version = 1 AND j.at = now() AND j.from_state IS NULL AND j.to_state = n.state
     )
        OR (is_later_number(n.order_no) AND NOT EXISTS (
        SELECT FROM attempts a WHERE a.reference = n.order_no AND a.order_id = n.id
     ))
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'order %: admitted without its line in the journal, or without its number', wrong
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;
