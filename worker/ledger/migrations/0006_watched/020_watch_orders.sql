-- Keeps `watched` as the orders are. No order is admitted in such a state, so only steps matter.
CREATE FUNCTION watch_orders() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM before WHERE state IN ('unknown', 'awaiting_payment', 'review')) THEN
        DELETE FROM watched w
         WHERE w.order_id IN (
            SELECT id FROM written WHERE state NOT IN ('unknown', 'awaiting_payment', 'review')
         );
    END IF;
    IF EXISTS (SELECT FROM written WHERE state IN ('unknown', 'awaiting_payment', 'review')) THEN
        INSERT INTO watched AS w (order_id, gateway, state, amount_fen)
        SELECT id, gateway, state, amount_fen FROM written
         WHERE state IN ('unknown', 'awaiting_payment', 'review')
         ORDER BY id
            ON CONFLICT (order_id) DO UPDATE
           SET gateway = EXCLUDED.gateway, state = EXCLUDED.state, since = EXCLUDED.since
         WHERE (w.gateway, w.state) <> (EXCLUDED.gateway, EXCLUDED.state);
    END IF;
    RETURN NULL;
END
$$;
