"""Which failures are worth another try: the jobs say it by their exit code."""

import re
from datetime import timedelta
from typing import Any

from airflow.sdk import Context, RetryDecision, RetryPolicy

# What a repeat cannot change. The rest (5, a conflict; 1; a lost Spark master; a kill) is retried.
FINAL = {
    2: "usage or configuration: the job's last log line names the field and the remedy",
    3: "no data for this day: ingest it, then clear the task",
    4: "refused for data quality: see forward_rejects and the job's last log line",
}

# "non-zero exit code 4." says the BashOperator, "Error code is: 4." the SparkSubmitOperator.
_EXIT_CODE = re.compile(r"(?:non-zero exit code|Error code is:) (\d+)\.")


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
        codes = _EXIT_CODE.findall(str(exception))
        reason = FINAL.get(int(codes[-1])) if codes else None
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
}
