-- Lets go of events that their writer does not publish itself: any worker may take them at once.
UPDATE outbox SET held_until = now() WHERE id = ANY($1::bigint[])
