INSERT INTO watched (order_id, gateway, state, amount_fen, since)
SELECT id, gateway, state, amount_fen, updated_at FROM orders WHERE state IN ('unknown', 'awaiting_payment', 'review')
    ON CONFLICT (order_id) DO NOTHING;
