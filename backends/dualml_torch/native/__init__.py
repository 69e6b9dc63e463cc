"""Models that a user already has in PyTorch, run as they are and read into the terms of a spec."""
