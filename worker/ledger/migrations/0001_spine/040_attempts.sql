-- The numbers of second and later attempts, so that none is ever also another order's number.
CREATE TABLE attempts (
    reference text PRIMARY KEY,
    order_id bigint NOT NULL REFERENCES orders (id),
    attempt integer NOT NULL CHECK (attempt > 1),
    gateway text NOT NULL,
    UNIQUE (order_id, attempt)
);
