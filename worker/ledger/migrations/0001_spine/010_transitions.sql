-- The steps that the machine allows; `worker migrate` fills it from the machine's own table.
CREATE TABLE transitions (
    from_state text,
    to_state text NOT NULL,
    cause text NOT NULL,
    UNIQUE NULLS NOT DISTINCT (to_state, cause, from_state)
);
