"""Benchmarks: each prints its figures beside a limit or a peer that it measures in the same run."""
