"""From batches to a fitted model: losses, schedule, pull, validation, checkpoints."""
