"""Benchmarks: `make bench` runs them all and prints JSON. They are figures, not tests: nothing here fails."""
