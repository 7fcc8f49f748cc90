CREATE INDEX alarms_expiring ON alarms (expires_at) WHERE expires_at IS NOT NULL;
