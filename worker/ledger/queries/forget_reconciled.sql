-- Forgets up to $2 of the attempts that a run compared.
DELETE FROM reconciled r
 USING (SELECT gateway, order_id, attempt FROM reconciled WHERE reconciliation_id = $1 LIMIT $2) g
 WHERE r.reconciliation_id = $1 AND r.gateway = g.gateway AND r.order_id = g.order_id AND r.attempt = g.attempt
