"""What spark-submit runs: one file a job."""
