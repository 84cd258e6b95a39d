"""Scrutineering: types of inspections, checklists, inspections with many hands, passports and follow-ups."""
