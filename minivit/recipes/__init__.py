"""Training procedures: the loop, checkpoints, metrics, evaluation, results."""
