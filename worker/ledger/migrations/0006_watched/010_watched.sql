-- The orders in states that people watch, and since when. An index on the state of `orders` would cost every order its
-- updates in the page; these states are rare, so a table of them costs next to nothing.
CREATE TABLE watched (
    order_id bigint PRIMARY KEY REFERENCES orders (id),
    gateway text NOT NULL,
    state text NOT NULL CHECK (state IN ('unknown', 'awaiting_payment', 'review')),
    amount_fen bigint NOT NULL,
    since timestamptz NOT NULL DEFAULT now()
) WITH (
    fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_cost_delay = 0
);
