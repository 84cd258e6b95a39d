"""One story per context, tests of the house itself, faults, benchmarks."""
