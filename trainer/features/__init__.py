"""Held-out rows as a model of another encoding reads them, from the feature store, without Spark.

The twins of `spark_jobs/features/`, for the few rows that a gate judges by, on the machine that
trains; a test holds them to Spark's.
"""
