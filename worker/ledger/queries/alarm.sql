SELECT due_at FROM alarms WHERE order_id = $1
