"""What readers get to know of trucks, drivers, sites, trips, their tracks, and payroll."""
