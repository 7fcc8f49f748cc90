-- What only a worker itself knows of a gateway, written every few seconds as long as it lives.
CREATE TABLE heartbeats (
    worker text NOT NULL,
    gateway text NOT NULL,
    breaker text NOT NULL CHECK (breaker IN ('closed', 'open', 'half_open')),
    in_flight integer NOT NULL CHECK (in_flight >= 0),
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (worker, gateway)
) WITH (
    fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_cost_delay = 0
);
