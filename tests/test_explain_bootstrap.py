"""What `explain` says of an instance to the first refresh, which looks at labels alone."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from schemas.sections.store import Labels
from spark_jobs.explained.candidacy import _first_refresh

CUT = datetime(2013, 1, 9, tzinfo=UTC)
TIME = pa.timestamp("us", tz="UTC")


def outcome(maturity: str, after: str | None, days_old: int, *, labelled: bool) -> str:
    rule = Labels.model_validate(
        {
            "columns": {"late": {"type": "float64"}},
            "label": "late",
            "maturity": maturity,
            "after": after,
        }
    )
    pinned: Any = SimpleNamespace(
        manifest=SimpleNamespace(inputs=SimpleNamespace(cut=CUT)),
        pipeline=SimpleNamespace(labels=rule),
    )
    asked = pa.table({"event_time": pa.array([CUT - timedelta(days=days_old)], TIME)})
    known = [CUT - timedelta(hours=1)] if labelled else []
    return _first_refresh(pinned, asked, pa.table({"known_at": pa.array(known, TIME)})).outcome


@pytest.mark.parametrize(
    ("maturity", "after", "days_old", "labelled", "wanted"),
    [
        ("arrival", None, 1, True, "candidate"),
        ("arrival", None, 1, False, "unmatured"),
        ("delay", "7d", 1, True, "unmatured"),
        ("delay", "7d", 8, True, "candidate"),
        ("delay", "7d", 8, False, "unmatured"),
        ("window", "7d", 1, True, "unmatured"),
        ("window", "7d", 8, True, "candidate"),
        ("window", "7d", 8, False, "candidate"),
    ],
)
def test_a_label_counts_for_the_first_refresh_by_the_age_of_its_event(
    maturity: str, after: str | None, days_old: int, labelled: bool, wanted: str
) -> None:
    assert outcome(maturity, after, days_old, labelled=labelled) == wanted
