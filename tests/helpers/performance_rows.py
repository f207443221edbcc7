"""Rows of `performance`, written out."""

from datetime import UTC, date, datetime
from typing import Any

from schemas.side_tables import performance

DAY = date(2026, 2, 1)
CUT = datetime(2026, 3, 1, tzinfo=UTC)


def row(day: date = DAY, version: str = "1", **other: Any) -> dict[str, Any]:
    """A row of `performance` of all records, in which nothing is wrong."""
    plain = dict.fromkeys(performance().column_names)
    counts = {"instances": 1000, "recorded": 990, "records": 990, "matured": 800}
    of = {"loss": 0.5, "auc": 0.75, "calibration_ratio": 1.0, "loss_gap": 0.0}
    ends = {f"{n}_low": v - 0.02 for n, v in of.items()} | {
        f"{n}_high": v + 0.02 for n, v in of.items()
    }
    more = {
        "expected_loss": 0.49,
        "expected_loss_matured": 0.5,
        "prediction_drift": 0.01,
        "segment_drift": [0.02],
        "sketch_drift": [0.1, -0.1],
    }
    key = {"event_date": day, "model_version": version, "segment": "all", "level": "all"}
    return plain | counts | of | ends | more | key | {"cut": CUT} | other
