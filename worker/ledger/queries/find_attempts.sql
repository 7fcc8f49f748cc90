-- Finds whose later attempts these numbers are.
SELECT a.reference, o.order_no, a.attempt
  FROM attempts a JOIN orders o ON o.id = a.order_id
 WHERE a.reference = ANY($1::text[])
