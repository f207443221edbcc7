"""The pipeline files of which no DAG can be made, as an import error that names each.

Airflow takes away every DAG of a file with an import error. So this file has none, and fails in
place of `tenforward_pipelines.py`.
"""

# Airflow opens a file only where both words, airflow and dag, occur in it.
from tenforward_dags.settings import deployments

deployments()
