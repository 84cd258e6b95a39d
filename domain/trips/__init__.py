"""Haulage: trucks, drivers, sites, trips with their tracks, and payroll."""
