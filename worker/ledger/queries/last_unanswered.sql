-- What the call said whose order came last, at gateway $1, to be of unknown outcome; no row: no outcome is unknown.
SELECT j.message
  FROM (
    SELECT order_id FROM watched WHERE gateway = $1 AND state = 'unknown' ORDER BY since DESC, order_id DESC LIMIT 1
) w
  JOIN journal j USING (order_id)
 WHERE j.cause = 'unanswered'
 ORDER BY j.version DESC
 LIMIT 1
