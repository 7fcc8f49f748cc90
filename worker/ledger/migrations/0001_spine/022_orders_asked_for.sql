CREATE TRIGGER asked_for BEFORE UPDATE OF
        id, order_no, source, product, amount_fen, target, digest, route, expires_at, correlation_id, created_at
    ON orders FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('what was asked for never changes');
