CREATE UNIQUE INDEX reconciliations_open ON reconciliations (since, until, gateway) NULLS NOT DISTINCT
    WHERE finished_at IS NULL;
