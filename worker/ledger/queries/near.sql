-- The latest order up to an id, and when it was admitted.
SELECT o.id, o.created_at FROM orders o WHERE o.id <= $1 ORDER BY o.id DESC LIMIT 1
