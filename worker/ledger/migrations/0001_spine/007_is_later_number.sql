-- Whether a number reads as a second or later attempt's ("T1R2"), be it one or an order's own.
CREATE FUNCTION is_later_number(reference text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT reference ~ '.R([2-9]|[1-9][0-9]+)$'
$$;
