-- Open orders that $1 or more calls have not brought on, by gateway and by what became of the calls: `lost` after they were
-- sent in this attempt, each time in doubt and denied, or else never sent, so many in a row. The first of each is the one
-- that has been so longest: since it was first sent, or admitted. The journal is read of orders with enough calls alone.
WITH stuck AS (
    SELECT o.gateway, o.id, o.order_no, lost.enough AS lost,
           CASE WHEN lost.enough THEN o.sent_at ELSE o.created_at END AS since
      FROM (
        SELECT a.order_id FROM alarms a WHERE a.task IN ('submit', 'lease')
        UNION ALL
        SELECT w.order_id FROM watched w WHERE w.state = 'unknown'
    ) c
     CROSS JOIN LATERAL (SELECT * FROM orders WHERE id = c.order_id AND $1 <= greatest(unsent, sending) OFFSET 0) o
     CROSS JOIN LATERAL (
        SELECT count(*) >= $1 AS enough
          FROM journal j
         WHERE j.order_id = o.id AND j.at > o.sent_at - interval '1 hour'
           AND j.attempt = o.attempt AND j.from_state = 'submitting' AND j.to_state = 'unknown'
    ) lost
     WHERE lost.enough OR (o.state = 'queued' AND o.unsent >= $1)
)
SELECT gateway, lost, count(*) AS orders, (array_agg(order_no ORDER BY since, id))[1] AS first,
       greatest(extract(epoch FROM now() - min(since)), 0)::float8 AS age
  FROM stuck
 GROUP BY gateway, lost
 ORDER BY gateway, lost
