CREATE INDEX outbox_held ON outbox (held_until);
