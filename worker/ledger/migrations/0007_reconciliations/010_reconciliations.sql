-- Runs of `worker reconcile`: one that was interrupted goes on, one that is over leaves only this row.
CREATE TABLE reconciliations (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    since timestamptz NOT NULL,
    until timestamptz NOT NULL CHECK (until > since),
    gateway text,
    started_at timestamptz NOT NULL DEFAULT now(),
    listed_at timestamptz,
    finished_at timestamptz,
    compared integer,
    differences integer
);
