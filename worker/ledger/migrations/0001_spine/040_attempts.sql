-- The numbers of second and later attempts ("T1R2"), and of orders that are named like one: none is ever used twice.
CREATE TABLE attempts (
    reference text PRIMARY KEY,
    order_id bigint NOT NULL REFERENCES orders (id),
    attempt integer NOT NULL CHECK (attempt > 0),
    gateway text NOT NULL,
    UNIQUE (order_id, attempt)
);
