"""What a recorder has done, and how Prometheus is told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

COUNTER, GAUGE = "counter", "gauge"

# Kind and meaning of each number, as a page for Prometheus says them.
TOLD = {
    "recorded": (COUNTER, "Rows taken into the journal since the recorder was opened."),
    "queued": (GAUGE, "Rows of these that are not stored yet."),
    "written": (COUNTER, "Rows stored in forward_records, those of an earlier process included."),
    "rejected": (COUNTER, "Rows stored in forward_rejects."),
    "damaged_bytes": (COUNTER, "Bytes of the journal that were altered and set aside."),
    "journal_bytes": (GAUGE, "Bytes that wait to be stored."),
    "lag_s": (GAUGE, "Age in seconds of the oldest row that waits."),
    "failing": (GAUGE, "1 while the last attempt to store failed, else 0."),
}


@dataclass(frozen=True)
class Metrics:
    """What the recorder has done since it was opened; rows, but for the last four."""

    recorded: int = 0  # taken into the journal; those of an earlier process do not count
    queued: int = 0  # of these, not stored yet
    written: int = 0  # in forward_records, those of an earlier process included
    rejected: int = 0  # in forward_rejects
    damaged_bytes: int = 0  # of the journal, altered and set aside
    journal_bytes: int = 0  # wait to be stored
    lag_s: float = 0.0  # age of the oldest row that waits
    last_error: str | None = None  # of storing; None once it works again

    def prometheus(self) -> str:
        """The numbers in Prometheus' text format."""
        values = vars(self) | {"failing": int(self.last_error is not None)}
        return prometheus("tenforward_recorder", TOLD, values)


def prometheus(prefix: str, told: Mapping[str, tuple[str, str]], values: Mapping[str, Any]) -> str:
    """Numbers in Prometheus' text format; told: kind and meaning of each."""
    lines = []
    for name, (kind, meaning) in told.items():
        full = f"{prefix}_{name}{'_total' if kind == COUNTER else ''}"
        lines += [f"# HELP {full} {meaning}", f"# TYPE {full} {kind}", f"{full} {values[name]}"]
    return "\n".join([*lines, ""])
