-- Makes the partitions of this month and the next `ahead`; safe to repeat and to run at the same time.
CREATE FUNCTION ensure_journal_months(ahead integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first date;
    partition text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('worker.journal_months'));
    FOR n IN 0..ahead LOOP
        first := (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => n))::date;
        partition := 'journal_' || to_char(first, 'YYYY_MM');
        CONTINUE WHEN to_regclass(partition) IS NOT NULL;
        EXECUTE format(
            'CREATE TABLE %I PARTITION OF journal FOR VALUES FROM (%L) TO (%L)', partition,
            first::timestamp AT TIME ZONE 'UTC', (first + interval '1 month')::timestamp AT TIME ZONE 'UTC'
        );
        EXECUTE format(
            'CREATE TRIGGER no_truncate BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()',
            partition
        );
    END LOOP;
END
$$;
