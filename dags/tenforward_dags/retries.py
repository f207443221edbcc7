"""Which failures are worth another try, and what to do about them: the exit code says it."""

import logging
import re
from datetime import timedelta
from typing import Any

from airflow.sdk import Context, RetryDecision, RetryPolicy

NO_DATA = 3

# What a repeat cannot change. The rest (5, a conflict; 1; a lost Spark master; a kill) is retried.
FINAL = {
    2: "usage or configuration: the job's last log line names the field and the remedy",
    NO_DATA: "no data for this day: ingest it",
    4: "refused for data quality, or beyond a limit of [monitor]: see forward_rejects and the job's"
    " last log lines",
}
RETRIED = "every try failed: the log of the last one says why"

# How the operators say it: Bash "non-zero exit code 4.", SparkSubmit "Error code is: 4.", SSH
# "exit status = 4", a pod "'exit_code': 4," for each of its containers.
_EXIT_CODE = re.compile(
    r"(?:non-zero exit code|Error code is:|exit status =|'exit_code':) (\d+)(?!\d)"
)

log = logging.getLogger("airflow.task")


def exit_code(exception: object) -> int | None:
    """The command's exit code, by the text of the operator's exception; of several a final one."""
    codes = [int(code) for code in _EXIT_CODE.findall(str(exception))]
    return next((code for code in codes if code in FINAL), codes[-1] if codes else None)


def tell_remedy(context: Context) -> None:
    """When a task has failed for good: say at the end of its log what to do."""
    code = exit_code(context.get("exception"))
    remedy = FINAL.get(code, RETRIED) if code is not None else RETRIED
    log.error("What to do (exit code %s): %s. Then clear the task.", code, remedy)


class FinalExitCodes(RetryPolicy):
    """Fail at once on the exit codes of `FINAL`; leave the others to the task's retries."""

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,
        context: Context | None = None,
    ) -> RetryDecision:
        """Decide by the exit code in the exception's text, which is the only place it stands."""
        code = exit_code(exception)
        reason = None if code is None else FINAL.get(code)
        return RetryDecision.fail(reason) if reason else RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        """Nothing to keep: the policy has no settings."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> "FinalExitCodes":
        """The policy again."""
        return cls()


# Each new try waits twice as long as the one before: a cluster needs minutes to come back.
RETRIES: dict[str, Any] = {
    "retries": 2,
    "retry_delay": timedelta(minutes=1),
    "retry_exponential_backoff": 2,
    "max_retry_delay": timedelta(minutes=15),
    "retry_policy": FinalExitCodes(),
    "on_failure_callback": tell_remedy,
}
