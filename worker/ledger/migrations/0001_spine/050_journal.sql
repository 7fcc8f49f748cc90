-- What happened to each order, append-only, by month: old months are detached, never deleted from.
CREATE TABLE journal (
    order_id bigint NOT NULL,
    version integer NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    from_state text,
    to_state text NOT NULL,
    cause text NOT NULL,
    attempt integer NOT NULL,
    code text,
    message text,
    evidence jsonb
) PARTITION BY RANGE (at);
