"""Commands that need neither Spark nor torch."""
