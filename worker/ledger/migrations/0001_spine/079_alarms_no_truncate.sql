CREATE TRIGGER no_truncate BEFORE TRUNCATE ON alarms
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('open orders need their alarms');
