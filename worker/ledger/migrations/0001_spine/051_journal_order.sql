CREATE INDEX journal_order ON journal (order_id, version);
