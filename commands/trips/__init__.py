"""What may be asked of trucks, drivers, sites, trips and payroll periods."""
