"""A job as an Airflow task."""

from typing import Any

from airflow.providers.apache.spark.operators import spark_submit
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from tenforward_dags.retries import NO_DATA, exit_code
from tenforward_dags.settings import Deployment


class SparkSubmitOperator(spark_submit.SparkSubmitOperator):
    """Airflow's; where the job says that a day has no data, the task is skipped, not failed."""

    def execute(self, context: Context) -> Any:
        """Run the job. Raises AirflowSkipException for its exit code of no data."""
        try:
            return super().execute(context)
        except Exception as error:
            if exit_code(error) != NO_DATA:
                raise
            raise AirflowSkipException("no data for this day: nothing to do") from error


def spark_task(
    task_id: str, deployment: Deployment, job: str, *more: str, skips: bool = False
) -> spark_submit.SparkSubmitOperator:
    """The job file through spark-submit; master and queue come from the connection.

    skips: whether the task is skipped where the job has no data for the day.
    """
    operator = SparkSubmitOperator if skips else spark_submit.SparkSubmitOperator
    return operator(
        task_id=task_id,
        name=f"tenforward {task_id} {deployment.name}",
        conn_id="spark_default",
        application=str(deployment.jobs / job),
        application_args=[*deployment.arguments, *more],
        py_files=deployment.py_files,
        archives=deployment.archives,
        properties_file=deployment.spark_properties,
    )
