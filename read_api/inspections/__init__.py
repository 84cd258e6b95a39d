"""What may be asked of inspection types, checklists, inspections, checks, passports, follow-ups and client reports."""
