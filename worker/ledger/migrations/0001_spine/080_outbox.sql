-- Events that are committed and not yet confirmed by the broker. Whoever wrote or took one publishes it till `held_until`.
CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id text NOT NULL,
    key text NOT NULL,
    body bytea NOT NULL,
    correlation_id text,
    created_at timestamptz NOT NULL DEFAULT now(),
    held_until timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);
