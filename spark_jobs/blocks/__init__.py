"""Candidates in blocks on Spark: packed shards, the passes over them, what a pass holds."""
