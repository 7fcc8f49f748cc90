CREATE INDEX hints_due ON hints (gateway, due_at);
