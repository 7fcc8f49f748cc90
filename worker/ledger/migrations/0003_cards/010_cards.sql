-- Cards at gateways that orders are paid onto: ours by the digest of its number, theirs by its id. Nothing about a
-- person is here but the masked number: the fields themselves come with each order, and are compared by their digest.
CREATE TABLE cards (
    gateway text NOT NULL,
    owner text NOT NULL,
    kind text NOT NULL,
    key bytea NOT NULL CHECK (length(key) = 32),
    shown text NOT NULL,
    card_id text CHECK (card_id <> ''),
    digest bytea CHECK (digest IS NULL OR (card_id IS NOT NULL AND length(digest) = 32)),
    token bigint NOT NULL,
    changing boolean NOT NULL DEFAULT true CHECK (NOT (changing AND (users > 0 OR digest IS NOT NULL))),
    users integer NOT NULL DEFAULT 0 CHECK (users >= 0),
    held_until timestamptz NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (gateway, owner, kind, key),
    UNIQUE (gateway, owner, kind, card_id)
) WITH (fillfactor = 70);
