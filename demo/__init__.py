"""The demonstration, `make up`, a throw-away Airflow and the example server."""
