"""A job as an Airflow task."""

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator

from tenforward_dags.settings import Deployment


def spark_task(task_id: str, deployment: Deployment, job: str, *more: str) -> SparkSubmitOperator:
    """The job file through spark-submit; master and queue come from the connection."""
    return SparkSubmitOperator(
        task_id=task_id,
        name=f"tenforward {task_id} {deployment.name}",
        conn_id="spark_default",
        application=str(deployment.jobs / job),
        application_args=[*deployment.arguments, *more],
        py_files=deployment.py_files,
        archives=deployment.archives,
        properties_file=deployment.spark_properties,
    )
