ALTER TABLE outbox ADD COLUMN trace text;
