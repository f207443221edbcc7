"""Held-out rows with weights of their own: metrics and gate are those of the weighted rows."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from inference.registered import find_champion
from inference.scorer import load_scorer
from schemas.errors import ConfigurationError
from schemas.pipeline import Pipeline
from spark_jobs import estimate
from tests.helpers.trainer_tables import (
    empty_database,
    random_rows,
    small_card,
    small_pipeline,
    write_refresh,
)
from trainer import register
from trainer.data.reader import HeldOut, read_holdout
from trainer.data.refresh import open_refresh
from trainer.models.model import build_model
from trainer.promotion.assess import assess
from trainer.promotion.evaluate import evaluate
from trainer.promotion.gate import HOLDOUT, decide
from trainer.promotion.judge import judge, measure
from trainer.train import train_refresh

N = 400
RANDOM = np.random.default_rng(4)
LOGIT = np.round(RANDOM.normal(size=N), 1)  # rounded: ties
LABEL = (RANDOM.random(N) < 1 / (1 + np.exp(-LOGIT))).astype(float)
TIMES = RANDOM.integers(1, 5, N)  # a whole number: what as many rows would say
SEGMENTS = {"shop": np.array(["a", "b", "c"])[np.arange(N) % 3]}
COPIES = np.repeat(np.arange(N), TIMES)
OUTPUTS = {
    "binary": (LOGIT, LABEL),
    "multiclass": (RANDOM.normal(size=(N, 4)), RANDOM.integers(0, 4, N).astype(float)),
    "regression": (LOGIT, RANDOM.normal(size=N)),
}


@pytest.mark.parametrize("task", OUTPUTS)
def test_metrics_of_weighted_rows_are_those_of_copies(task) -> None:
    output, label = OUTPUTS[task]
    weighted = evaluate(task, output, label, weight=TIMES)
    copied = evaluate(task, output[COPIES], label[COPIES])
    assert (weighted.pop("rows"), copied.pop("rows")) == (N, TIMES.sum())
    # Ten groups by prediction: an edge may fall between the copies of one row.
    close = {"calibration_error": {"abs": 0.01}}
    assert weighted == {
        name: pytest.approx(value, **close.get(name, {})) for name, value in copied.items()
    }


def test_the_weighted_auc_is_that_of_scikit_learn() -> None:
    own = np.random.default_rng(5).lognormal(size=N)
    wanted = roc_auc_score(LABEL, LOGIT, sample_weight=own)
    assert evaluate("binary", LOGIT, LABEL, weight=own)["auc"] == pytest.approx(wanted)


def test_differences_and_segments_are_weighted_and_count_rows() -> None:
    found = assess("binary", LOGIT, LOGIT * 0.5, LABEL, weight=TIMES, segments=SEGMENTS)
    levels = {"shop": SEGMENTS["shop"][COPIES]}
    copied = assess("binary", LOGIT[COPIES], LOGIT[COPIES] * 0.5, LABEL[COPIES], segments=levels)
    for name, increase in found.increase.items():
        if name != "calibration_error":
            assert increase.value == pytest.approx(copied.increase[name].value), name
    for one, other in zip(found.segments, copied.segments, strict=True):
        assert (one.level, one.rows) == (other.level, (SEGMENTS["shop"] == one.level).sum())
        assert one.loss.value == pytest.approx(other.loss.value)
        assert one.increase.value == pytest.approx(other.increase.value)
        assert one.calibration_ratio.value == pytest.approx(other.calibration_ratio.value)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_the_auc_of_rows_of_which_one_class_weighs_nothing_is_no_number(label: float) -> None:
    found = evaluate("binary", LOGIT, LABEL, weight=np.where(label == LABEL, 1.0, 0.0))
    assert "auc" not in found


def test_nine_weighted_intervals_in_ten_hold_the_truth() -> None:
    """Of 200 samples of 300 rows, the mean loss of the weighted population; within three standard
    deviations of a binomial."""

    def sample(count: int, seed: int) -> tuple[np.ndarray, ...]:
        random = np.random.default_rng(seed)
        logit = random.normal(-1, 1.5, count)
        label = (random.random(count) < 1 / (1 + np.exp(-logit))).astype(float)
        return logit, label, random.exponential(1 + label)

    logit, label, own = sample(1_000_000, 0)
    truth = evaluate("binary", logit, label, weight=own)["loss"]
    held = 0
    for seed in range(1, 201):
        logit, label, own = sample(300, seed)
        found = assess("binary", logit, None, label, weight=own, confidence=0.9)
        _, low, high = found.challenger["loss"]
        held += low <= truth <= high
    assert abs(held - 180) <= 3 * 4.3


def test_the_gate_decides_by_weighted_rows() -> None:
    """A challenger that is better on most rows, and worse on those that count."""
    label = np.zeros(N)
    challenger = np.where(np.arange(N) < 40, 2.0, -2.0)
    champion = np.zeros(N)
    costs = np.where(np.arange(N) < 40, 50.0, 1.0)
    gate = small_pipeline().gate
    plain, weighted = (
        decide({HOLDOUT: assess("binary", challenger, champion, label, weight=own)}, gate)
        for own in (None, costs)
    )
    assert plain.passed
    assert not weighted.passed
    assert "loss increase" in weighted.reason


def refresh_with(warehouse: Path, pipeline: Pipeline, **held_out: object) -> HeldOut:
    rows = random_rows(20, seed=3) | held_out
    write_refresh(warehouse, pipeline, "first", random_rows(30, seed=1), rows)
    plain = small_pipeline(segments=["shop"])
    return read_holdout(plain, open_refresh(str(warehouse), plain, "first"))


def weighted_pipeline() -> Pipeline:
    plain = small_pipeline(segments=["shop"])
    columns = {"y": {"type": "float64"}, "cost": {"type": "float64"}}
    labels = {"label": "y", "weight": "cost", "columns": columns}
    return Pipeline.model_validate(plain.model_dump() | {"labels": labels})


def test_a_refresh_is_judged_by_the_weights_it_was_made_with(tmp_path: Path) -> None:
    """Whatever the pipeline file says by now; of one from before the setting every row counts 1."""
    own = [None, 0.0, *np.linspace(0.5, 9, 18).tolist()]
    keys = {"segments": [["a"]] * 20}
    found = refresh_with(tmp_path / "new", weighted_pipeline(), row_weight=own, **keys)
    assert found.rows.weight.tolist() == pytest.approx([1.0, *own[1:]])
    before = refresh_with(tmp_path / "old", small_pipeline(segments=["shop"]), **keys)
    assert before.rows.weight.tolist() == [1.0] * 20


def test_a_row_of_weight_0_counts_for_nothing(tmp_path: Path) -> None:
    own, keys = [0.0] * 5 + [2.0] * 15, {"segments": [["none"]] * 5 + [["a"]] * 15}
    pipeline = small_pipeline(segments=["shop"])
    held_out = refresh_with(tmp_path, weighted_pipeline(), row_weight=own, **keys)
    card = small_card(pipeline)
    model = build_model(card, 1)
    [assessment] = judge(pipeline, model, None, held_out).values()
    assert assessment.rows == 15
    assert [line.level for line in assessment.segments] == ["a"]
    measured = measure(model, card, held_out.rows, pipeline.training)["loss"]
    assert assessment.challenger["loss"].value == pytest.approx(measured)


def test_a_training_reads_weighs_and_judges_weighted_rows(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """`train`, from the files of a refresh to a version: its loss is the weighted one of what it
    serves."""
    shutil.copy(empty_database(tmp_path_factory.getbasetemp()), tmp_path / "mlflow.db")
    own = np.random.default_rng(6).exponential(size=500)
    rows = random_rows(300, seed=1) | {"row_weight": own[:300], "weight": own[:300]}
    held = random_rows(200, seed=3) | {"row_weight": own[300:], "segments": [["a"]] * 200}
    pipeline = weighted_pipeline()
    write_refresh(tmp_path, pipeline, "first", rows, held)
    told = train_refresh(pipeline, str(tmp_path), "first")
    assert told["promoted"], told["reason"]
    champion = find_champion("small", str(tmp_path))
    assert champion is not None
    logit = load_scorer(champion.folder).score(held).prediction
    wanted = evaluate("binary", logit, held["label"], weight=own[300:].astype(np.float32))
    assert told["metrics"]["challenger"]["loss"] == pytest.approx(wanted["loss"], rel=1e-5)
    assert wanted["loss"] != pytest.approx(
        evaluate("binary", logit, held["label"])["loss"], rel=1e-3
    )


def test_law_3_the_gate_is_not_asked_by_other_losses_than_weighted_ones(tmp_path: Path) -> None:
    changes = [('label = "late"', 'label = "late"\nweight = "cost"')]
    changes.append(("[labels.columns]\n", '[labels.columns]\ncost = { type = "float64" }\n'))
    text = Path("pipelines/flights.toml").read_text()
    for old, new in changes:
        text = text.replace(old, new, 1)
    (tmp_path / "p.toml").write_text(text)
    given = ["--pipeline", str(tmp_path / "p.toml"), "--warehouse", str(tmp_path / "w")]
    asked = [
        (estimate.command, ["--refresh", "later", "--challenger", "2", "--for-gate"]),
        (register.command, ["--refresh", "later", "--version", "2"]),
    ]
    for command, arguments in asked:
        with pytest.raises(ConfigurationError, match=r"labels.weight = 'cost', and .*Remedy: "):
            command([*given, *arguments])
