-- Refuses a line that the machine does not allow, or that is not about the order as it now stands.
CREATE FUNCTION check_journal() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    SELECT a.order_id, a.from_state, a.to_state, a.cause INTO wrong
      FROM added a LEFT JOIN orders o ON o.id = a.order_id
     WHERE (o.version, o.state) IS DISTINCT FROM (a.version, a.to_state)
        OR NOT EXISTS (
        SELECT FROM transitions t
         WHERE t.to_state = a.to_state AND t.cause = a.cause AND t.from_state IS NOT DISTINCT FROM a.from_state
     )
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'order %: % -> % because of % is not a transition of it', wrong.order_id,
            coalesce(wrong.from_state, '(new)'), wrong.to_state, wrong.cause USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;
