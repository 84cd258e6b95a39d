"""What may be asked of inspection types, checklists, inspections, passports, follow-ups and client reports."""
