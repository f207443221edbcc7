"""`train_<name>`: whenever a refresh has arrived, train on the newest one not yet trained."""

from datetime import timedelta

from airflow.sdk import DAG

from tenforward_dags.command_task import command_task
from tenforward_dags.retries import RETRIES
from tenforward_dags.select_dag import BEGINNING, refreshes_asset
from tenforward_dags.settings import Deployment

DOC = """\
`train` runs `tenforward train --refresh latest` in the pool `{pool}`: Petastorm reads the newest
refresh, PyTorch trains, the gate decides whether the new model becomes `champion`.

The event that starts the run is a bell, the table `refreshes` is the truth. Events may be merged,
repeated or lost; the command looks for itself which refresh is the newest, and the task is skipped
if that has been trained. So a run by hand is always safe. The task's page links to the run in
MLflow and to the refresh's report card, where their addresses are known.

Pipeline file `{file}`, warehouse `{warehouse}`; the models and their metrics are in MLflow.
"""


def train_dag(deployment: Deployment) -> DAG:
    """The training DAG of one pipeline."""
    name = deployment.name
    with DAG(
        dag_id=f"train_{name}",
        description=f"Train {name} on its newest refresh; promote if the gate passes.",
        schedule=refreshes_asset(name),
        start_date=BEGINNING,
        catchup=False,
        max_active_runs=1,
        default_args=RETRIES | {"execution_timeout": timedelta(hours=12)},
        tags=["tenforward", name],
        doc_md=DOC.format(
            pool=deployment.gpu_pool,
            file=deployment.pipeline_file,
            warehouse=deployment.warehouse,
        ),
    ) as dag:
        command_task("train", deployment, "--refresh", "latest", pool=deployment.gpu_pool)
    return dag
