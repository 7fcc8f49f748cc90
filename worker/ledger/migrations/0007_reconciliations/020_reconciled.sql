-- The attempts that a run compares, and what it has found so far: no `asked_at`, no answer yet; no `class`, they agree.
CREATE TABLE reconciled (
    reconciliation_id bigint NOT NULL REFERENCES reconciliations (id),
    gateway text NOT NULL,
    order_id bigint NOT NULL REFERENCES orders (id),
    attempt integer NOT NULL CHECK (attempt > 0),
    asked_at timestamptz,
    class text,
    state text,
    answer text,
    ours_fen bigint,
    theirs_fen bigint,
    amount_fen bigint CHECK (amount_fen >= 0),
    cost_fen bigint,
    detail text,
    action text,
    applied text,
    PRIMARY KEY (reconciliation_id, gateway, order_id, attempt),
    CHECK ((class IS NULL) = (amount_fen IS NULL))
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
