"""What readers get to know of inspection types, checklists, inspections, checks, passports, follow-ups and client reports."""
