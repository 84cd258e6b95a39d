"""Views and reading, end to end: real database, real APIs, real projectors and reactor."""
