-- One row an order. No column that changes is indexed, and a page keeps room, so that updates stay in the page (HOT).
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_no text NOT NULL UNIQUE,
    source text NOT NULL,
    product text NOT NULL,
    amount_fen bigint NOT NULL CHECK (amount_fen > 0),
    target jsonb NOT NULL,
    digest bytea NOT NULL,
    route text[] NOT NULL,
    expires_at timestamptz,
    correlation_id text,
    created_at timestamptz NOT NULL DEFAULT now(),

    state text NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    gateway text NOT NULL,
    attempt integer NOT NULL CHECK (attempt > 0),
    sending integer NOT NULL CHECK (sending >= 0),
    upstream_no text,
    arrived_fen bigint CHECK (arrived_fen >= 0),
    cost_fen bigint CHECK (cost_fen >= 0),
    reason_code text,
    reason_message text,
    payment jsonb,
    payment_expires_at timestamptz,
    sent_at timestamptz,
    queries integer NOT NULL DEFAULT 0,
    unsent integer NOT NULL DEFAULT 0,
    absent_count integer NOT NULL DEFAULT 0,
    absent_since timestamptz,
    doubt_code text,
    doubt_message text,
    review_kind text,
    noted text,
    delivered boolean NOT NULL DEFAULT false,
    updated_at timestamptz NOT NULL DEFAULT now(),
    revision integer NOT NULL DEFAULT 1,
    write_token bigint NOT NULL,

    CONSTRAINT known_state CHECK (state IN (
        'queued', 'submitting', 'unknown', 'pending', 'awaiting_payment', 'review',
        'succeeded', 'partial', 'failed', 'cancelled', 'refunded'
    )),
    CONSTRAINT review_has_a_kind CHECK ((state = 'review') = (review_kind IS NOT NULL)),
    CONSTRAINT partial_says_how_much CHECK (state <> 'partial' OR arrived_fen IS NOT NULL),
    CONSTRAINT open_means_sent CHECK (
        sent_at IS NOT NULL OR state NOT IN ('submitting', 'unknown', 'pending', 'awaiting_payment')
    )
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1);
