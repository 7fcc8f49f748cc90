-- What all workers share about a gateway. Paused: no submit begins there, orders wait as `queued`; an automatic pause
-- (our money there is used up) ends by itself, one by hand does not. `lowest_fen` and `needed_fen` are of an automatic
-- pause: the lowest balance since it began, and the amount of the smallest order that waits.
CREATE TABLE gateways (
    gateway text PRIMARY KEY,
    paused_at timestamptz,
    paused_by text CHECK (paused_by <> ''),
    pause_note text,
    automatic boolean,
    try_at timestamptz,
    lowest_fen bigint,
    needed_fen bigint,
    balance_fen bigint,
    balance_at timestamptz,
    spent_per_hour_fen bigint CHECK (spent_per_hour_fen >= 0),
    ask_at timestamptz NOT NULL DEFAULT now(),
    CHECK (num_nulls(paused_at, paused_by, pause_note, automatic) IN (0, 4)),
    CHECK ((try_at IS NOT NULL) = (automatic IS TRUE)),
    CHECK (automatic IS TRUE OR num_nonnulls(lowest_fen, needed_fen) = 0),
    CHECK (num_nulls(balance_fen, balance_at) IN (0, 2))
) WITH (fillfactor = 50);
