"""`train_<name>`: whenever a refresh has arrived, train on the newest one not yet trained."""

import shlex
from datetime import timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

from tenforward_dags.retries import RETRIES
from tenforward_dags.select_dag import BEGINNING, refreshes_asset
from tenforward_dags.settings import Deployment

DOC = """\
`train` runs `tenforward train --refresh latest` in the pool `gpu`: Petastorm reads the newest
refresh, PyTorch trains, the gate decides whether the new model becomes `champion`.

The event that starts the run is a bell, the table `refreshes` is the truth. Events may be merged,
repeated or lost; the command looks for itself which refresh is the newest, and ends well with
"nothing to do" if that has been trained. So a run by hand is always safe.

Pipeline file `{file}`, warehouse `{warehouse}`; the models and their metrics are in MLflow.
"""


def train_dag(deployment: Deployment) -> DAG:
    """The training DAG of one pipeline."""
    name = deployment.name
    command = ["tenforward", "train", *deployment.arguments, "--refresh", "latest"]
    with DAG(
        dag_id=f"train_{name}",
        description=f"Train {name} on its newest refresh; promote if the gate passes.",
        schedule=refreshes_asset(name),
        start_date=BEGINNING,
        catchup=False,
        max_active_runs=1,
        default_args=RETRIES | {"execution_timeout": timedelta(hours=12)},
        tags=["tenforward", name],
        doc_md=DOC.format(file=deployment.pipeline_file, warehouse=deployment.warehouse),
    ) as dag:
        BashOperator(task_id="train", pool="gpu", bash_command=shlex.join(command))
    return dag
