CREATE TABLE journal_default PARTITION OF journal DEFAULT;
