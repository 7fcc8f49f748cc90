-- Every balance that a gateway told us, and when it was asked: calls that were in flight then may be in it or not.
CREATE TABLE balances (
    gateway text NOT NULL,
    at timestamptz NOT NULL,
    balance_fen bigint NOT NULL,
    PRIMARY KEY (gateway, at)
);
