"""One step of an order's life each: what joins gateways, ledger and broker."""
