-- When an open order needs attention next, and for what. The only table that the scheduler scans.
CREATE TABLE alarms (
    order_id bigint PRIMARY KEY,
    gateway text NOT NULL,
    product text NOT NULL,
    task text NOT NULL CHECK (task IN ('submit', 'lease', 'query')),
    due_at timestamptz NOT NULL,
    expires_at timestamptz
) WITH (
    fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_cost_delay = 0
);
