"""The log: what it promises, and that it keeps it."""
