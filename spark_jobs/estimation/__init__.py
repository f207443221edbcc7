"""Means over all instances from what is known of the drawn: pure functions, no Spark, no torch."""
