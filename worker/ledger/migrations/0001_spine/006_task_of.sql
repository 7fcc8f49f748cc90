-- What has to be done about an order in this state; NULL: nothing, so it has no alarm.
CREATE FUNCTION task_of(state text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN state = 'queued' THEN 'submit'
        WHEN state = 'submitting' THEN 'lease'
        WHEN state IN ('unknown', 'pending', 'awaiting_payment') THEN 'query'
    END
$$;
