"""Tests of the house itself: its rules, its golden files, its documents."""
