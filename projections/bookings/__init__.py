"""Bookings: who comes when, who inspects, and how it goes at each station."""
