-- Makes the partitions of this month and the next `ahead`; safe to repeat and to run at the same time. A month that has
-- lines in the default partition already stays there: lines are never moved.
CREATE FUNCTION ensure_journal_months(ahead integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first timestamptz;
    last timestamptz;
    partition text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('worker.journal_months'));
    FOR n IN 0..ahead LOOP
        first := (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => n)) AT TIME ZONE 'UTC';
        last := (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => n + 1)) AT TIME ZONE 'UTC';
        partition := 'journal_' || to_char(first AT TIME ZONE 'UTC', 'YYYY_MM');
        CONTINUE WHEN to_regclass(partition) IS NOT NULL
            OR EXISTS (SELECT FROM journal_default WHERE at >= first AND at < last);
        EXECUTE format(
            'CREATE TABLE %I PARTITION OF journal FOR VALUES FROM (%L) TO (%L)', partition, first, last
        );
        EXECUTE format(
            'CREATE TRIGGER behind_journal BEFORE INSERT OR TRUNCATE ON %I'
            ' FOR EACH STATEMENT EXECUTE FUNCTION refuse_change(%L)',
            partition, 'write to journal, which is append-only'
        );
    END LOOP;
END
$$;
