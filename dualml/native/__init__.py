"""Models that a user already has: what they consist of, read into the terms of a spec."""
