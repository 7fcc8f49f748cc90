CREATE INDEX alarms_due ON alarms (gateway, task, due_at);
