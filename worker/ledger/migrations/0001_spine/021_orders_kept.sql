CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON orders
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('an order that is forgotten could be sent again');
