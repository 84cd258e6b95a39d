"""What Redis is for: shared, fast and disposable state. Losing it loses nothing that is true."""
