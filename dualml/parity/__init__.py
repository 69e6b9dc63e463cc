"""Parity: run two sides, judge both by the float64 reference, decide."""
