"""A day under Airflow's own scheduler, which is started again whenever it has ended.

    python -m tests.torture.scheduled FOLDER DAY

Ends with 0 once the day's selection and the training that follows it have succeeded.
"""

import sys
import time
import urllib.error
from contextlib import suppress
from pathlib import Path

from demo.airflow_home import airflow_home
from demo.airflow_server import AirflowServer
from tests.torture.steps import pipeline_in

LIMIT_S = 1500.0


def main(folder: Path, day: str) -> None:
    """Run the day; a RuntimeError where a run fails or takes too long."""
    name, airflow = pipeline_in(folder).stem, folder / "airflow"
    home = airflow_home(
        airflow,
        TENFORWARD_WAREHOUSE=str(folder / "warehouse"),
        TENFORWARD_PIPELINES=str(folder / "pipelines"),
        # A killed task is noticed after this long; without, after 5 minutes.
        AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL="20",
        AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT="60",
    )
    with AirflowServer(home, airflow) as server:
        run = server.trigger(f"select_{name}", day)
        print("triggered", flush=True)
        supervise(server, f"select_{name}", lambda: server.run(f"select_{name}", run))
        train = f"train_{name}"
        supervise(server, train, lambda: next(iter(server.runs(train)), {}))


def supervise(server: AirflowServer, what: str, look: object) -> None:
    """Wait for a run to succeed; start the scheduler again as often as it ends."""
    last = time.monotonic() + LIMIT_S
    while time.monotonic() < last:
        if server.processes["scheduler"].poll() is not None:
            server.launch("scheduler", "--skip-serve-logs")
        run = {}
        with suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            run = look()  # type: ignore[operator]
        if run.get("state") == "success":
            return
        if run.get("state") == "failed":
            raise RuntimeError(f"{what} failed: {server.tasks(what, run['dag_run_id'])}")
        time.sleep(0.5)
    raise RuntimeError(f"{what}: not there after {LIMIT_S:.0f} s. {server.tail('scheduler')}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
