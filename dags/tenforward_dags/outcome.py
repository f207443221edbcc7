"""What a command said: its JSON result, and whether there was anything to do."""

import binascii
import json
from base64 import b64decode
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

# The command's exit code is 0 all the same: nothing to do is no failure.
IDLE = ("nothing to do", "not due")


def outcome_of(said: Any) -> dict[str, Any]:
    """The result of a command, from what its operator returns.

    A pod's is the result itself, Bash's the last line of the output, SSH's the output in base64.
    """
    if isinstance(said, dict):
        return said
    lines = str(said or "").splitlines()
    for line in (lines[-1:] or [""]) + [_decoded(lines)]:
        try:
            result = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(result, dict):
            return result
    raise AirflowException(
        f"no JSON result on the last line: {lines[-1:]}. Remedy: see the log above; the command"
        " must be tenforward's, and nothing may print after it."
    )


def _decoded(lines: list[str]) -> str:
    """The last line of what SSH returns."""
    try:
        text = b64decode("".join(lines), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return (text.splitlines() or [""])[-1]


def keep_or_skip(context: Context, result: Any = None) -> None:
    """After a command: keep its result as `outcome` of the operator, for its lineage; mark the task
    as skipped where it did nothing."""
    outcome = outcome_of(result)
    setattr(context["task"], "outcome", outcome)  # noqa: B010 -- ours, of whatever operator
    if outcome.get("status") in IDLE:
        context["ti"].xcom_push("return_value", outcome)
        raise AirflowSkipException(str(outcome.get("reason") or outcome["status"]))
