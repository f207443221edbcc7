"""`select --unlabelled`: whom to ask for a label; the chance is kept, and undone in training."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pytest
from deltalake import DeltaTable as Snapshot

from console.explain import explain
from schemas.errors import ConfigurationError, EmptyDrawError
from spark_jobs.asking.ask import Ask, ask_of, asked_by
from spark_jobs.estimate import main as estimate
from spark_jobs.select_sample import main as select
from spark_jobs.select_sample import select_day
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers import small_warehouse as small
from tests.helpers.flights_loop import manifest_of

FIRST, SECOND, LAST = small.DAYS
COUNT = 40  # instances a day
EVERY = small.instances(count=COUNT)
# Every fourth instance has a label of itself; the others would have to be asked.
KNOWN = [one for number, one in enumerate(EVERY) if number % 4 == 0]
LABELS = small.labels(KNOWN)
PIPELINE = small.pipeline(selection={"window_days": 3, "budget": 0.5, "policy": "grad-norm"})


@pytest.fixture
def shops(tmp_path: Path, spark: Any) -> Warehouse:
    return small.filled(tmp_path, PIPELINE, instances=EVERY, labels=LABELS)


def ask(warehouse: Warehouse, day: Any = SECOND, policy: str | None = None) -> Ask:
    return ask_of(warehouse.pipeline, day, policy, "20 rows")


def rows_of(warehouse: Warehouse, name: str) -> list[dict[str, Any]]:
    return Snapshot(warehouse.path(name)).to_pyarrow_table().to_pylist()


def test_only_those_without_a_label_are_drawn_about_and_once(shops: Warehouse) -> None:
    first = asked_by(shops, ask(shops))
    assert first.num_rows == 20
    rows = rows_of(shops, "asked")
    about = {row["instance_id"] for row in rows}
    labelled = {one["instance_id"] for one in KNOWN}
    later = {one["instance_id"] for one in EVERY if one["event_date"] == LAST}
    assert not about & (labelled | later)
    assert {row["instance_id"] for row in rows if row["drawn"]} == set(
        first["instance_id"].to_pylist()
    )
    assert sum(row["probability"] for row in rows) == pytest.approx(20)
    # The same ask is the same list; the next draws about nobody that this one drew about.
    assert asked_by(shops, ask(shops)).equals(first)
    assert len(rows_of(shops, "asked")) == len(rows)
    asked_by(shops, ask(shops, LAST))
    new = {row["instance_id"] for row in rows_of(shops, "asked")} - about
    assert new
    assert new <= later
    with pytest.raises(EmptyDrawError):
        asked_by(shops, ask(shops, LAST, "uniform"))


@pytest.mark.slow
@pytest.mark.nightly
def test_law_3_weights_are_over_the_chance_of_having_been_asked(shops: Warehouse) -> None:
    drawn = asked_by(shops, ask(shops)).to_pylist()
    chance = {row["instance_id"]: row["probability"] for row in drawn}
    answers = small.labels([one for one in EVERY if one["instance_id"] in chance])
    late = [row | {"known_at": small.asked_at(LAST, 0) + timedelta(hours=9)} for row in answers]
    small.append(shops, "labels", late)
    done = select_day(shops, LAST)
    rows = rows_of(shops, "selection_probabilities")
    assert set(chance) <= {row["instance_id"] for row in rows}
    n, k = done["candidates"], done["drawn"]
    stands_for = {row["instance_id"]: 1 / chance.get(row["instance_id"], 1.0) for row in rows}
    mean = np.mean(list(stands_for.values()))
    for row in rows:
        wanted = k / (n * row["probability"]) * stands_for[row["instance_id"]] / mean
        assert row["weight"] == pytest.approx(wanted if row["drawn"] else 0.0), row["instance_id"]
    assert manifest_of(shops, done["refresh_id"]).inputs.versions["asked"] == 1
    assert manifest_of(shops, done["refresh_id"]).report["asked"] == len(chance)
    again = select_day(shops, LAST, rebuild=True)
    assert again["sample_digest"] == done["sample_digest"]
    told = explain(shops.pipeline, shops.root, next(iter(chance)))
    (refresh,) = [one for one in told["refreshes"] if one["refresh_id"] == done["refresh_id"]]
    assert refresh["recomputed"] == "equal"


def test_a_warehouse_in_which_nobody_was_asked_pins_no_asks(shops: Warehouse) -> None:
    done = select_day(shops, LAST)
    assert "asked" not in manifest_of(shops, done["refresh_id"]).inputs.versions


def test_the_command_lists_them_and_estimates_from_their_answers(
    shops: Warehouse, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file, name = tmp_path / "asked.csv", tmp_path / "shops.toml"
    place = ["--pipeline", str(written(name)), "--warehouse", shops.root]
    asking = [*place, "--ds", str(SECOND), "--unlabelled", "--budget", "20 rows"]
    assert select([*asking, "--list", str(file)]) == 0
    told = json.loads(capfd.readouterr().out)
    assert (told["asked"], told["policy"]) == (20, "uncertainty")
    listed = csv.read_csv(file)
    answers = tmp_path / "answers.csv"
    truth = {one["instance_id"]: float(number % 3 == 0) for number, one in enumerate(EVERY)}
    sold = [truth[one] for one in listed["instance_id"].to_pylist()]
    csv.write_csv(listed.append_column("sold", pa.array(sold)), answers)
    asked = ["--asked", told["ask_id"], "--answers", str(answers), "--value", "sold"]
    assert estimate([*place, *asked]) == 0
    (line,) = json.loads(capfd.readouterr().out)["estimates"]
    about = [row["instance_id"] for row in rows_of(shops, "asked")]
    assert (line["rows"], line["drawn"]) == (len(about), 20)
    assert line["low"] < np.mean([truth[one] for one in about]) < line["high"]


def written(file: Path) -> Path:
    """The pipeline as a file, its sections in inline tables."""
    given = PIPELINE.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    file.write_text("\n".join(f"{name} = {inline(value)}" for name, value in given.items()))
    return file


def inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {inline(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    return json.dumps(value)


@pytest.mark.parametrize(
    ("changes", "policy", "told"),
    [
        ({}, "grad-norm", "--policy = grad-norm: it needs the labels"),
        ({}, "calibrated", "--policy = calibrated: it needs the labels"),
        ({"maturity": "delay", "after": "1d"}, None, "labels mature without being asked"),
    ],
)
def test_what_cannot_be_asked_is_refused(changes: Any, policy: str | None, told: str) -> None:
    labels = PIPELINE.labels.model_dump(exclude_none=True) | changes
    pipeline = small.pipeline(labels=labels)
    with pytest.raises(ConfigurationError, match=f"{told}.*Remedy"):
        ask_of(pipeline, SECOND, policy, "20 rows")
