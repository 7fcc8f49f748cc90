-- What the workers say that are alive (heard of in the last $2 seconds), and how many orders wait to be sent.
SELECT g.gateway, count(h.worker) AS workers, coalesce(sum(h.in_flight), 0) AS in_flight,
       count(*) FILTER (WHERE h.breaker = 'open') AS open,
       count(*) FILTER (WHERE h.breaker = 'half_open') AS half_open,
       (SELECT count(*) FROM alarms a WHERE a.gateway = g.gateway AND a.task = 'submit') AS waiting
  FROM unnest($1::text[]) AS g(gateway)
  LEFT JOIN heartbeats h ON h.gateway = g.gateway AND h.at > now() - make_interval(secs => $2)
 GROUP BY g.gateway
