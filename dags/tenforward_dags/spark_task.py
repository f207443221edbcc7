"""A job as an Airflow task."""

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook
from airflow.providers.apache.spark.operators import spark_submit
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from tenforward_dags.lineage import trace
from tenforward_dags.outcome import IDLE
from tenforward_dags.retries import NO_DATA, exit_code
from tenforward_dags.settings import Deployment


class SparkSubmitOperator(spark_submit.SparkSubmitOperator):
    """Airflow's, which keeps the job's JSON result as `outcome`, where its driver runs here.

    skips: whether the task is skipped, not failed, where the job says that a day has no data, or
    that none of its days is due.
    """

    outcome: dict[str, Any] | None = None
    skips = False

    def execute(self, context: Context) -> Any:
        """Run the job. Raises AirflowSkipException for its exit code of no data, where it skips."""
        try:
            result = super().execute(context)
        except Exception as error:
            # Passed over: there are data, of which nothing can be drawn; `select` fails so as well.
            passed_over = (self.outcome or {}).get("passed_over")
            if not self.skips or passed_over or exit_code(error) != NO_DATA:
                raise
            raise AirflowSkipException("no data for this day: nothing to do") from error
        if self.skips and (said := _idle(self.outcome or {})):
            raise AirflowSkipException(said)
        return result

    def _get_hook(self) -> SparkSubmitHook:
        hook = super()._get_hook()
        # A name of the provider's own: without it, or without a line of JSON, no result is kept.
        name = "_process_spark_submit_log"
        if read := getattr(hook, name, None):
            setattr(hook, name, lambda lines: read(self._kept(lines)))
        return hook

    def _kept(self, lines: Iterable[str]) -> Iterator[str]:
        """The job's output, as it comes: its log, and its result."""
        for line in lines:
            with suppress(ValueError):
                said = json.loads(line) if line.startswith("{") else {}
                self.outcome = said if "status" in said else self.outcome
            yield line


def _idle(outcome: dict[str, Any]) -> str | None:
    """What kept a backfill from selecting on each of its days, where something did."""
    days = outcome.get("days", [])
    idle = [
        step["status"] for day in days for step in day.values()
        if isinstance(step, dict) and step["status"] in IDLE
    ]  # fmt: skip
    return idle[0] if days and len(idle) == len(days) else None


def spark_task(
    task_id: str, deployment: Deployment, job: str, *more: str, skips: bool = False
) -> SparkSubmitOperator:
    """The job file through spark-submit; master and queue come from the connection.

    skips: as SparkSubmitOperator has it.
    """
    operator = SparkSubmitOperator(
        task_id=task_id,
        name=f"tenforward {task_id} {deployment.name}",
        pool=deployment.spark_pool,
        conn_id="spark_default",
        application=str(deployment.jobs / job),
        application_args=[*deployment.arguments, *more],
        py_files=deployment.py_files,
        archives=deployment.archives,
        properties_file=deployment.spark_properties,
    )
    operator.skips = skips
    trace(operator, task_id, deployment)
    return operator
