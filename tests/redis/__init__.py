"""Tests of what Redis is for: shared answers, limits, presence and edit locks, and being without it."""
