"""Bookings: which team comes when, to which lane of which inspection."""
