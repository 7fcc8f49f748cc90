ALTER TABLE orders ADD COLUMN trace text;
