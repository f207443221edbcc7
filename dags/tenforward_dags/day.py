"""Which day a run is for: its logical date, and only once that day is over.

A scheduled run has a data interval, so the run of logical date D starts when D has ended. A run
started by hand may name any date, today included; half a day must not be selected from, because its
refresh would stand for the whole day ever after.
"""

from datetime import UTC, datetime
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

TEMPLATE = "{{ whole_day(dag_run) }}"


def whole_day(dag_run: Any) -> str:
    """The run's UTC day as YYYY-MM-DD; fails the task for good if it is not over."""
    if dag_run.logical_date is None:
        raise AirflowFailException(
            "the run has no logical date, which says the day. Remedy: trigger it with one."
        )
    day = dag_run.logical_date.astimezone(UTC).date()
    # The worker's clock may lag behind the scheduler's, which started the run at midnight.
    now = max(datetime.now(UTC), dag_run.run_after)
    if day >= now.astimezone(UTC).date():
        raise AirflowFailException(
            f"{day} (UTC) is not over yet. Remedy: trigger with the logical date of an earlier day."
        )
    return str(day)
