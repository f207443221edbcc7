"""`select_<name>`: each day, score its instances or import its records, select, ring the bell."""

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import (
    DAG,
    Asset,
    Context,
    CronDataIntervalTimetable,
    TriggerRule,
    chain,
    task,
)

from tenforward_dags.command_task import command_task
from tenforward_dags.day import TEMPLATE, whole_day
from tenforward_dags.retries import RETRIES
from tenforward_dags.settings import Deployment
from tenforward_dags.spark_task import spark_task

# Of a run before it Airflow would run no task, and call it a success: so it is as early as can be.
# Before the first year of the calendar there is none, and timetables look at the week before.
BEGINNING = datetime(2, 1, 1, tzinfo=UTC)

DOC = """\
For the day that has just ended (the run's logical date, UTC):

* `score`: the champion scores the day's instances and appends forward records; a day without any
  is skipped with all that follows (exit code 3). Where `[records]` says that they come from a log,
  `import-records` reads the day's from there in its place; where a server's recorder brings them,
  nothing is answered;
* `monitor`, where the pipeline file has `[monitor]`: how the models did on the days of the window;
  beyond a limit it fails (exit code 4), and what follows goes on;
* `due`, where the pipeline's `[schedule]` has conditions: skips the rest until one is met; where a
  server's recorder brings the records, it skips a day of which none has come;
* `select`: draws the refresh of the window that ends with the day; where `[schedule]` says
  `one_session`, `score-select` does all of this, but for `monitor`, in one Spark session;
* `announce`: emits the asset event on which `train_{name}` starts. A backfilled run emits none:
  trigger `train_{name}` once when the backfill has ended.

Each task may be repeated at any time: what is done is left alone. Exit codes 2 (configuration),
3 (no data) and 4 (data quality) fail at once, the rest is retried.

Pipeline file `{file}`, warehouse `{warehouse}`.
"""


def refreshes_asset(name: str) -> Asset:
    """The bell of a pipeline. The table `refreshes` is the truth; an event only says: look."""
    return Asset(f"{name}_refreshes", group="tenforward")


def select_dag(deployment: Deployment) -> DAG:
    """The daily DAG of one pipeline."""
    name = deployment.name
    with DAG(
        dag_id=f"select_{name}",
        description=f"Bring in the records of a day of {name} and select its training rows.",
        # Plain "@daily" has no data interval: its run for a day would start as the day begins.
        schedule=CronDataIntervalTimetable(deployment.cron, timezone="UTC"),
        start_date=BEGINNING,
        end_date=deployment.end,
        catchup=False,
        max_active_runs=1,
        default_args=RETRIES | {"execution_timeout": timedelta(hours=3)},
        user_defined_macros={"whole_day": whole_day},
        tags=["tenforward", name],
        doc_md=DOC.format(name=name, file=deployment.pipeline_file, warehouse=deployment.warehouse),
    ) as dag:
        if deployment.one_session:
            records = selected = [_score_select(deployment)]
        else:
            records = _records(deployment)
            select = spark_task("select", deployment, "select_sample.py", "--ds", TEMPLATE)
            selected = [*records, *_due(deployment), select]
        chain(*selected, _announce(name))
        if deployment.monitored:
            monitor = spark_task("monitor", deployment, "monitor.py", "--ds", TEMPLATE, skips=True)
            if deployment.one_session:  # a day that is not due is skipped, and yet measured
                monitor.trigger_rule = TriggerRule.NONE_FAILED
            chain(*records, monitor)
    return dag


def _score_select(deployment: Deployment) -> Any:
    """A day's records and its refresh, in one session, as `backfill` makes them."""
    day = ("--start", TEMPLATE, "--end", TEMPLATE, "--only", "score,select")
    return spark_task("score-select", deployment, "backfill.py", *day, skips=True)


def _records(deployment: Deployment) -> list[Any]:
    """The task that the day's records come by; none where a server's recorder brings them."""
    if deployment.source == "online":
        return []
    name, job = {
        "score": ("score", "score.py"),
        "import": ("import-records", "import_records.py"),
    }[deployment.source]
    return [spark_task(name, deployment, job, "--ds", TEMPLATE, skips=True)]


def _due(deployment: Deployment) -> list[Any]:
    """Where the pipeline's `[schedule]` has conditions, or records have to have come: the task that
    is skipped with all after it while none of them is met, or none has."""
    asks = deployment.conditional or deployment.source == "online"
    return [command_task("due", deployment, "--ds", TEMPLATE)] if asks else []


def _backfilled(context: Context) -> bool:
    """Whether the run is one of a backfill, which would start a training for each of its days."""
    return context["dag_run"].run_type == "backfill"


def _announce(name: str) -> Any:
    """The task that emits the event, with the pipeline and the day in its extra."""
    bell = refreshes_asset(name)

    @task.skip_if(_backfilled, "a backfilled run rings no bell")
    @task(outlets=[bell])
    def announce(day: str, *, outlet_events: Any = None) -> None:
        outlet_events[bell].extra = {"pipeline": name, "ds": day}

    return announce(TEMPLATE)
