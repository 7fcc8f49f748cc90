-- Allows one step of the machine; steps of older machines stay allowed, for workers that are not upgraded yet.
INSERT INTO transitions (from_state, to_state, cause)
VALUES (:from_state, :to_state, :cause)
ON CONFLICT DO NOTHING
