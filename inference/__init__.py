"""Scoring with a registered model: no Spark, no JVM."""
