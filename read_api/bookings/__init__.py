"""What may be asked of bookings, of those who inspect, and of stations."""
