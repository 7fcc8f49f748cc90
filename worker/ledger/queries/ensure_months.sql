SELECT ensure_journal_months(:ahead)
