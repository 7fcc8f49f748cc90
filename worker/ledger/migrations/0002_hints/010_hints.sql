-- What callbacks without proof say of attempts that no alarm rings for. Each is kept until its gateway has answered.
CREATE TABLE hints (
    order_id bigint NOT NULL REFERENCES orders (id),
    attempt integer NOT NULL CHECK (attempt > 0),
    gateway text NOT NULL,
    heard_at timestamptz NOT NULL DEFAULT now(),
    due_at timestamptz NOT NULL DEFAULT now(),
    asked integer NOT NULL DEFAULT 0,
    PRIMARY KEY (order_id, attempt, gateway)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);
