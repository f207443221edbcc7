"""Which limits of `[monitor]` a day has passed: a pure function of rows and limits."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from schemas.sections.monitor import Monitor
from spark_jobs.monitoring.levels import ALL

Row = Mapping[str, Any]


class Passed(NamedTuple):
    """One limit that was passed: where, by what, and in words."""

    limit: str  # the setting, with its section
    event_date: str
    model_version: str
    what: str
    value: float
    allowed: float

    def __str__(self) -> str:
        """The line that is logged and sent."""
        return (
            f"{self.event_date}, model version {self.model_version}: {self.what}"
            f" {self.value:.4g}, {self.limit} is {self.allowed:g}"
        )


def passed(
    rows: Iterable[Row], limits: Monitor, keys: Sequence[str], section: str = "monitor"
) -> list[Passed]:
    """Every limit that the rows of all records pass; those of single levels are not judged.

    What has an interval passes a limit where all of it is beyond. Days with fewer than `min_rows`
    matured records are judged by coverage and drift alone. keys: the segment keys, in the order of
    `segment_drift`; section: where the limits stand.
    """
    return [
        Passed(
            f"{section}.{limit}", str(row["event_date"]), row["model_version"], what, value, allowed
        )
        for row in rows
        if row["segment"] == ALL
        for limit, what, value, allowed in _of_row(row, limits, keys)
    ]


Found = Iterator[tuple[str, str, float, float]]  # limit, what, value, allowed


def _of_row(row: Row, limits: Monitor, keys: Sequence[str]) -> Found:
    if row["matured"] >= limits.min_rows:
        yield from _above("max_loss", "loss", row["loss"], row["loss_low"], limits.max_loss)
        what, gap = "loss above the expected", limits.max_loss_gap
        yield from _above("max_loss_gap", what, row["loss_gap"], row["loss_gap_low"], gap)
        yield from _ratio(row, limits.max_calibration_gap)
    least, asked = limits.min_coverage, row["instances"]
    if least is not None and asked and row["recorded"] < least * asked:
        yield "min_coverage", "coverage", row["recorded"] / asked, least
    drifts = {"predictions": row["prediction_drift"]}
    drifts |= dict(zip(keys, row["segment_drift"] or (), strict=False))
    for name, index in drifts.items():
        yield from _above("max_drift", f"drift of {name}", index, index, limits.max_drift)


def _above(
    name: str, what: str, value: float | None, low: float | None, limit: float | None
) -> Found:
    if limit is not None and value is not None and low is not None and low > limit:
        yield name, what, value, limit


def _ratio(row: Row, limit: float | None) -> Found:
    """Predicted to observed, whose interval lies beyond 1 - limit or 1 + limit."""
    value, low, high = (row[f"calibration_ratio{end}"] for end in ("", "_low", "_high"))
    if limit is None or low is None or high is None:
        return
    if low > 1 + limit or high < 1 - limit:
        yield "max_calibration_gap", "predicted to observed", value, limit
