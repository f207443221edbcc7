"""The gate's anchor: losses that are small one by one do not add up over many promotions."""

import shutil
from collections.abc import Iterable
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from schemas.bundle import PROGRAM
from schemas.registry import served_on
from schemas.sections.gate import Gate
from tests.helpers.trainer_tables import (
    chance,
    empty_database,
    in_memory,
    random_rows,
    small_card,
    small_pipeline,
    write_refresh,
)
from trainer.data.reader import HeldOut
from trainer.models.model import build_model
from trainer.promotion.assess import assess
from trainer.promotion.gate import HOLDOUT, decide
from trainer.promotion.judge import CHALLENGER, judge
from trainer.promotion.registry import open_registry
from trainer.rollback import rollback
from trainer.train import train_refresh


def version(number: int, ds: str, *tags: str) -> Any:
    """A version of the registry, promoted."""
    return SimpleNamespace(version=number, tags={"ds": ds} | dict.fromkeys(("promoted", *tags)))


# --- Which version it is ---


def test_the_anchor_is_the_newest_champion_of_the_day_or_before() -> None:
    versions = [version(1, "2013-01-01"), version(3, "2013-01-05"), version(2, "2013-01-03")]

    def served(day: int) -> int | None:
        found = served_on(date(2013, 1, day), versions)
        return found and int(found.version)

    assert [served(day) for day in (1, 2, 3, 4, 5, 6)] == [1, 1, 2, 2, 3, 3]
    assert served_on(date(2012, 12, 31), versions) is None


def test_what_never_served_and_what_was_rolled_back_from_is_no_anchor() -> None:
    failed = SimpleNamespace(version=4, tags={"ds": "2013-01-04"})
    bad = version(3, "2013-01-03", "rolled_back")
    versions: Iterable[Any] = [failed, bad, version(2, "2013-01-02")]
    found = served_on(date(2013, 1, 5), versions)
    assert found is not None
    assert found.version == 2


def test_a_backfill_is_anchored_by_the_days_of_its_refreshes() -> None:
    """Days 1 to 3 were trained first, then again after a change: the second time counts."""
    first = [version(number, f"2013-01-{number:02}") for number in (1, 2, 3)]
    second = [version(number + 3, f"2013-01-{number:02}") for number in (1, 2)]
    found = served_on(date(2013, 1, 2), [*second, *first])
    assert found is not None
    assert found.version == 5
    assert served_on(date(2013, 1, 3), [*second, *first]) is first[2]


# --- What it is asked ---


def test_it_reads_the_rows_as_the_challenger_does() -> None:
    """A challenger of another encoding than its refresh has, as `register` takes one."""
    pipeline = small_pipeline()
    rows = in_memory(pipeline, random_rows(200, seed=1))
    as_challenger = (rows.categories[::-1].copy(), rows.numbers[::-1].copy())
    held_out = HeldOut(rows, np.zeros(200, np.bool_), {}, {CHALLENGER: as_challenger})
    model = build_model(small_card(pipeline), seed=1)
    found = judge(pipeline, model, None, held_out, anchor=model)[HOLDOUT]
    assert found.anchor["loss"].value == found.challenger["loss"].value
    assert found.anchor_increase["loss"].value == 0


# --- What it does ---

TOLERANCE = 0.01
FIRST = date(2013, 1, 1)


def promotions(gate: Gate, days: int) -> list[int]:
    """The days whose challenger is promoted, each 0.9 of the tolerance worse than its champion."""
    rows = random_rows(1000, seed=3)
    label, truth = rows["label"], np.log(chance(rows) / (1 - chance(rows)))

    @cache
    def model(worse: int) -> np.ndarray:
        """A model whose loss is so many steps above that of the first, by a bias of its logits."""
        low, high = 0.0, 10.0
        for _ in range(50):
            middle = (low + high) / 2
            above = log_loss(truth + middle, label) - log_loss(truth, label)
            low, high = (middle, high) if above < worse * 0.9 * TOLERANCE else (low, middle)
        return np.asarray(truth + low)

    steps = {1: 0}  # by version
    versions, serving, promoted = [version(1, str(FIRST))], 1, []
    for day in range(1, days):
        ds = FIRST + timedelta(days=day)
        old = (
            served_on(ds - timedelta(days=gate.anchor_days), versions) if gate.anchor_days else None
        )
        anchor = None if old is None or old.version == serving else old
        asked = assess(
            "binary",
            model(steps[serving] + 1),
            model(steps[serving]),
            label,
            anchor=None if anchor is None else model(steps[anchor.version]),
        )
        words = "" if anchor is None else f"anchor version {anchor.version}"
        if decide({"held-out": asked}, gate, words).passed:
            steps[day + 1], serving = steps[serving] + 1, day + 1
            versions.append(version(serving, str(ds)))
            promoted.append(day)
    return promoted


def log_loss(logit: np.ndarray, label: np.ndarray) -> float:
    return float((np.logaddexp(0, logit) - label * logit).mean())


def test_small_losses_do_not_add_up_over_many_promotions() -> None:
    alone = promotions(Gate(max_loss_increase=TOLERANCE, anchor_days=None), 30)
    assert alone == list(range(1, 30)), "each is within the tolerance of the one before"
    anchored = promotions(Gate(max_loss_increase=TOLERANCE, anchor_days=7), 30)
    assert anchored == [1, 2, 3, 4, 5, 6, 13, 20, 27], "once there is an anchor, one in seven days"


def test_both_increases_and_the_anchor_are_in_the_verdict() -> None:
    rows = random_rows(4000, seed=3)
    logit, half = np.log(chance(rows) / (1 - chance(rows))), np.arange(4000) % 2
    found = assess(
        "binary",
        logit + 1,
        logit + 0.9,
        rows["label"],
        anchor=logit,
        segments={"shop": half},
    )
    rule = Gate(max_loss_increase=0.05, max_segment_loss_increase=0.05)
    failed = decide({"held-out": found}, rule, "anchor version 3 of 2013-01-04")
    assert not failed.passed
    assert "loss increase over anchor version 3 of 2013-01-04 on held-out rows +" in failed.reason
    assert (
        "loss increase over anchor version 3 of 2013-01-04 on 2000 held-out rows of shop 1 +"
        in (failed.reason)
    )
    assert "loss increase on" not in failed.reason
    loose = decide({"held-out": found}, Gate(max_loss_increase=0.5), "anchor version 3")
    assert loose.passed
    assert f", champion {found.champion['loss'].value:.5f}, increase +" in loose.reason
    assert f", anchor version 3 {found.anchor['loss'].value:.5f}, increase +" in loose.reason


def test_an_anchor_whose_loss_is_no_number_cannot_be_better() -> None:
    label = random_rows(500, seed=3)["label"]
    sound, broken = np.zeros(500), np.full(500, np.nan)
    found = assess("binary", sound, sound, label, anchor=broken)
    decision = decide({"held-out": found}, Gate(), "anchor version 3")
    assert decision.passed
    assert "the anchor version 3's is not finite" in decision.reason


# --- In a training ---

PIPELINE = small_pipeline(
    gate={"max_loss_increase": 0.15, "anchor_days": 3},
    training={"warm_start": False, "epochs": 6},
)


def trained(root: Path, day: int, flipped: float, **changed: Any) -> dict[str, Any]:
    """A training on the refresh of a day of which a share of the labels is upside down."""
    rows = random_rows(1000, seed=day)
    wrong = np.random.default_rng(day).random(1000) < flipped
    rows["label"] = np.where(wrong, 1 - rows["label"], rows["label"]).astype(np.float32)
    write_refresh(root, PIPELINE, f"day-{day}", rows, day=day)
    return train_refresh(changed.pop("pipeline", PIPELINE), str(root), f"day-{day}", **changed)


@pytest.fixture
def root(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    shutil.copy(empty_database(tmp_path_factory.getbasetemp()), tmp_path / "mlflow.db")
    return tmp_path


def test_a_training_is_measured_against_the_anchor_and_keeps_its_metrics(root: Path) -> None:
    first = trained(root, 1, 0.0)
    assert "no anchor: no champion of 2013-01-29 or before, 3 days ago" in first["reason"]
    second = trained(root, 2, 0.25)
    assert second["promoted"], second["reason"]
    third = trained(root, 4, 0.45)
    metrics = third["metrics"]
    assert metrics["increase"]["loss"] < 0.15 < metrics["anchor_increase"]["loss"]
    assert metrics["anchor"]["rows"] == metrics["challenger"]["rows"]
    assert not third["promoted"]
    assert "loss increase over anchor version 1 of 2013-02-01 on held-out rows" in third["reason"]
    run = open_registry(str(root), "small", "small").client.get_run(third["run_id"])
    assert run.data.metrics["anchor.loss"] == metrics["anchor"]["loss"]
    assert run.data.metrics["anchor_increase.loss_low"] < metrics["anchor_increase"]["loss"]
    off = small_pipeline(gate=PIPELINE.gate.model_dump() | {"anchor_days": 0})
    again = train_refresh(off, str(root), "day-2", force=True)
    assert "no anchor: gate.anchor_days is switched off" in again["reason"]


def test_an_anchor_that_is_the_champion_or_cannot_be_asked_is_said_to_be_so(root: Path) -> None:
    trained(root, 1, 0.0)
    assert (
        "the anchor is the champion itself, version 1 of 2013-02-01"
        in (trained(root, 5, 0.0)["reason"])
    )
    registry = open_registry(str(root), "small", "small")
    first = registry.client.get_model_version("small", "1")
    (registry.folder(first) / PROGRAM).unlink()
    lost = trained(root, 6, 0.0)
    assert (
        "no anchor: version 1 of 2013-02-01 cannot be asked (model small version 1"
        in (lost["reason"])
    )
    assert "Remedy" not in lost["reason"]
    assert "anchor" not in lost["metrics"]


def test_an_anchor_of_other_features_is_left_out(root: Path) -> None:
    changed = PIPELINE.model_dump()
    changed["features"]["shop"]["buckets"] = 64
    trained(root, 1, 0.0, pipeline=type(PIPELINE).model_validate(changed))
    registry = open_registry(str(root), "small", "small")
    registry.client.delete_registered_model_alias("small", "champion")
    result = trained(root, 4, 0.0)
    assert "no anchor: version 1 of 2013-02-01 has other features" in result["reason"]
    assert result["promoted"]


def test_a_version_that_was_rolled_back_from_is_no_anchor(root: Path) -> None:
    trained(root, 1, 0.0)
    trained(root, 2, 0.25)
    rollback("small", "small", str(root))
    assert "the anchor is the champion itself, version 1" in trained(root, 5, 0.0)["reason"]
