-- Who wrote these orders last: settles what became of a write whose commit was not heard of.
SELECT id, write_token FROM orders WHERE id = ANY($1::bigint[])
