"""What may be asked of bookings."""
