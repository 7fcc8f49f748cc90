ALTER TABLE orders ADD COLUMN cancelling boolean NOT NULL DEFAULT false;
