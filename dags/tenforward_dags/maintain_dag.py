"""`maintain_<name>`: each week, compact the tables and remove the files that nothing pins."""

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable

from tenforward_dags.retries import RETRIES
from tenforward_dags.select_dag import BEGINNING
from tenforward_dags.settings import Deployment
from tenforward_dags.spark_task import spark_task

DOC = """\
`maintain` runs `spark_jobs/maintain.py` over the warehouse, Sundays at 04:00 UTC. It needs no date
and may be repeated at any time; a conflict with another writer (exit code 5) is tried again.
`tenforward maintain --dry-run` with the same arguments says what it would do.

Pipeline file `{file}`, warehouse `{warehouse}`.
"""


def maintain_dag(deployment: Deployment) -> DAG:
    """The weekly DAG of one pipeline."""
    name = deployment.name
    with DAG(
        dag_id=f"maintain_{name}",
        description=f"Compact and clean the tables of {name}.",
        schedule=CronTriggerTimetable("0 4 * * 0", timezone="UTC"),
        start_date=BEGINNING,
        catchup=False,
        max_active_runs=1,
        default_args=RETRIES | {"execution_timeout": timedelta(hours=6)},
        tags=["tenforward", name],
        doc_md=DOC.format(file=deployment.pipeline_file, warehouse=deployment.warehouse),
    ) as dag:
        spark_task("maintain", deployment, "maintain.py")
    return dag
