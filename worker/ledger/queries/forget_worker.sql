-- Removes what a worker wrote that ends.
DELETE FROM heartbeats WHERE worker = $1
