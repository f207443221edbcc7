"""Links from a task to what it made: buttons on its page in Airflow."""

from typing import Any

from airflow.sdk import BaseOperatorLink
from airflow.sdk.bases.xcom import BaseXCom

from tenforward_dags.outcome import outcome_of
from tenforward_dags.settings import Deployment


class MlflowRun(BaseOperatorLink):
    """The training's run: its parameters, metrics and model."""

    name = "MLflow run"

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """MLflow's page, where the result names a run and a server is known."""
        result = _result(ti_key)
        uri = str(result.get("tracking_uri", ""))
        server = uri if uri.startswith("http") else self.deployment.mlflow_url
        run = result.get("run_id")
        return f"{server.rstrip('/')}/#/runs/{run}" if server and run else ""


class ReportCard(BaseOperatorLink):
    """The report card of the refresh."""

    name = "Report card"

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The card's page, where the result names a refresh and a server of cards is known."""
        refresh = _result(ti_key).get("refresh_id")
        server = self.deployment.cards_url
        return f"{server.rstrip('/')}/{refresh}.html" if server and refresh else ""


def _result(ti_key: Any) -> dict[str, Any]:
    """What the task said; nothing where it failed."""
    said = BaseXCom.get_value(ti_key=ti_key, key="return_value")
    return outcome_of(said) if said else {}


def links_of(deployment: Deployment) -> tuple[BaseOperatorLink, ...]:
    """The links of a task of this pipeline."""
    return (MlflowRun(deployment), ReportCard(deployment))
