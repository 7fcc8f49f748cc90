-- What is written to a partition itself would escape the triggers of the whole.
CREATE TRIGGER behind_journal BEFORE INSERT OR TRUNCATE ON journal_default
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('write to journal, which is append-only');
