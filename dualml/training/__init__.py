"""Training: the plan of updates, the loop, checkpoints and run directories."""
