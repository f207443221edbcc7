"""What a dry run says will be drawn is what is drawn then, in every state of the tables."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from spark_jobs import backfill, select_sample
from spark_jobs.days.planned import plan
from spark_jobs.days.told import plan_line
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers import small_warehouse as small

DAYS = tuple(date(2026, 2, 1) + timedelta(days=number) for number in range(5))
A_DAY = 60
SELECTION = {"window_days": 4, "budget": 0.25, "policy": "grad-norm"}

# Where the tables stand, and under which settings: what differs from five sound days.
STATES: dict[str, dict[str, Any]] = {
    "after a bootstrap, records of the last day alone": {"recorded": DAYS[3:]},
    "a day without records": {"recorded": (DAYS[1], DAYS[4])},
    "labels two days late": {"late": timedelta(days=2)},
    "a third held out, rows": {"holdout": 0.33, "selection": {"budget": "20 rows"}},
    "more rows than candidates": {"selection": {"budget": "5000 rows"}},
    "strata with a floor": {
        "selection": {"strata": {"segment": "shop", "min_count": 25}, "budget": 0.3}
    },
    "forward passes": {"selection": {"budget": "0.4 per forward pass"}},
    "days to judge by": {"selection": {"forward_days": 1}},
    "rejects": {"spoilt": True, "selection": {"max_reject_share": 0.5}},
    "an attribution window": {
        "late": timedelta(hours=20),
        "labels": {"maturity": "window", "after": "36h"},
    },
    "a delay": {"labels": {"maturity": "delay", "after": "50h"}},
    "labels that stand in": {"late": timedelta(days=9), "selection": {"unmatured": "down-weight"}},
    "a design that leaves the number to chance": {"selection": {"policy": "infobatch"}},
}


def of_state(
    folder: Path,
    *,
    recorded: tuple[date, ...] = DAYS,
    late: timedelta = timedelta(),
    holdout: float = 0.1,
    selection: dict[str, Any] | None = None,
    labels: dict[str, Any] | None = None,
    spoilt: bool = False,
) -> Warehouse:
    """Five days of 60 instances."""
    asked = small.instances(DAYS, A_DAY)
    arrived = [row | {"known_at": row["known_at"] + late} for row in small.labels(asked)]
    records = [row for row in small.records(asked) if row["event_date"] in recorded]
    own = {"label": "sold", "columns": {"sold": {"type": "float64"}}} | (labels or {})
    pipeline = small.pipeline(
        selection=SELECTION | (selection or {}),
        holdout=holdout,
        labels=own,
        training={"epochs": 2},
    )
    if spoilt:
        arrived[7]["sold"] = 0.5
        records[20]["prediction"] = float("nan")
        records += [records[30] | {"prediction": 3.0}]  # contradicts the other
        records += [records[31], records[32] | {"batch_id": "score/again", "prediction": 0.0}]
        records += [records[40] | {"instance_id": "nobody", "segments": ["north"]}]
    return small.filled(folder, pipeline, instances=asked, records=records, labels=arrived)


RARE = ("a day without records", "more rows than candidates", "a delay", "labels that stand in")


@pytest.mark.parametrize(
    "state", [pytest.param(s, marks=[pytest.mark.slow] * (s in RARE)) for s in STATES]
)
def test_a_dry_run_of_select_says_what_is_drawn(
    state: str, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = of_state(tmp_path, **STATES[state])
    planned = select_sample._planned(warehouse, DAYS[4], again=False)

    drawn: list[tuple[int, int]] = []

    def told(_: Any, __: Any, draft: Any, ___: Any) -> Any:
        """In place of the writing, which would take most of the time and decides nothing."""
        drawn.append((draft.report["candidates"], draft.count))
        raise InterruptedError

    monkeypatch.setattr(select_sample, "write_refresh", told)
    with pytest.raises(InterruptedError):
        select_sample.select_day(warehouse, DAYS[4])
    [(candidates, rows)] = drawn
    assert planned["candidates"] == candidates
    assert planned["estimated_rows"] == rows
    assert not planned["refused"]


# --- a backfill, whose later days draw from records that are not there yet ---


def answering(warehouse: Warehouse, ds: date) -> dict[str, Any]:
    """In place of a model: a record of each instance of the day that has none."""
    there = set(warehouse.read("forward_records").select("instance_id").toPandas()["instance_id"])
    asked = [row for row in small.instances([ds], A_DAY) if row["instance_id"] not in there]
    small.append(warehouse, "forward_records", small.records(asked))
    return {"status": "done", "records": len(asked)}


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.parametrize(
    "budget",
    ["0.4 per forward pass", 0.25],
)
def test_a_dry_run_of_backfill_says_what_is_scored_and_drawn(
    budget: float | str, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first day has records of its own, labels are a day late, the loop goes on from there."""
    warehouse = of_state(
        tmp_path, recorded=DAYS[:1], late=timedelta(days=1), selection={"budget": budget}
    )
    few = small.records(small.instances(DAYS[1:2], 10))
    small.append(warehouse, "forward_records", few)  # whose batch is that of the scoring job
    planned = plan(warehouse, DAYS[0], DAYS[2])
    steps = {"score": answering, "select": backfill.select_asked}
    monkeypatch.setattr(backfill, "STEPS", steps)
    done = backfill.backfill(warehouse, DAYS[0], DAYS[2])
    assert [day["to_score"] for day in planned] == [day["score"]["records"] for day in done]
    for day, then in zip(planned, done, strict=True):
        drawn = then["select"].get("drawn", 0)
        assert (day["candidates"], day["estimated_rows"]) == (
            then["select"].get("candidates", 0),
            drawn,
        )
    assert planned[0]["estimated_rows"] == 0
    assert plan_line(planned[0]).endswith("about 0 rows of 0 candidates; to be passed over")
    assert all(day["estimated_rows"] > 0 for day in planned[1:])


def test_one_that_scores_or_trains_alone_draws_nothing(tmp_path: Path) -> None:
    warehouse = of_state(tmp_path, recorded=())
    for only in ("score", "train"):
        planned = plan(warehouse, DAYS[0], DAYS[1], only=only)
        assert [day["estimated_rows"] for day in planned] == [None, None]
    assert [day["to_score"] for day in plan(warehouse, DAYS[0], DAYS[1], only="score")] == [
        A_DAY,
        A_DAY,
    ]
    selected = plan(warehouse, DAYS[0], DAYS[1], only="select")
    assert [day["estimated_rows"] for day in selected] == [0, 0]  # nobody scores them
    both = plan(warehouse, DAYS[0], DAYS[1], only="score,select")
    assert [day["to_score"] for day in both] == [A_DAY, A_DAY]
    assert all(day["estimated_rows"] > 0 for day in both)
