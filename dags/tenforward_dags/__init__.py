"""What the DAG file is made of: imports airflow and the standard library, nothing else."""
