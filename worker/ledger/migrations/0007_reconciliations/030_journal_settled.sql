-- What was settled, or handed to a person, in a period. The journal only grows, so each line is indexed once.
CREATE INDEX journal_settled ON journal (at, order_id)
    WHERE to_state IN ('succeeded', 'partial', 'failed', 'cancelled', 'refunded', 'review')
      AND from_state IS DISTINCT FROM to_state;
