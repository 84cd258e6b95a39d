"""What may be asked of trucks, drivers, sites, trips, their tracks, the fleet and payroll."""
