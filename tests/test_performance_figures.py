"""Figures from sums and counts by bin are those of the rows: beside scikit-learn, plain means and
the gate's own bootstrap."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from schemas.errors import DataQualityError
from schemas.statistics import statistics
from spark_jobs.monitoring.figures import SUMS, auc, figures, mean
from spark_jobs.monitoring.measure import bin_of, measured, measures
from trainer.promotion.assess import assess

Z = 1.959963984540054


def summed(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`figures.SUMS` of measured rows, a row at a time."""
    edges = sorted(set(found["bin"].tolist()))
    sums = {name: np.zeros(len(edges)) for name in SUMS}
    for at, loss, expected, predicted, observed in zip(*found.values(), strict=True):
        place = edges.index(at)
        sums["records"][place] += 1
        sums["expected"][place] += expected
        if np.isnan(loss):
            continue
        of_row = {
            "matured": 1,
            "loss": loss,
            "loss_loss": loss**2,
            "matured_expected": expected,
            "gap_gap": (loss - expected) ** 2,
            "predicted": predicted,
            "observed": observed,
            "predicted_predicted": predicted**2,
            "predicted_observed": predicted * observed,
            "observed_observed": observed**2,
        }
        for name, value in of_row.items():
            sums[name][place] += value
    return sums


def binary(n: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(4)
    logit = random.normal(-1, 1.3, n)
    return logit, (random.random(n) < 1 / (1 + np.exp(-logit - shift))).astype(float)


# --- the bins ---


def test_bins_keep_the_order_of_values_of_any_size_and_sign():
    random = np.random.default_rng(1)
    values = np.sort(random.normal(size=4000) * 10.0 ** random.integers(-20, 25, 4000))
    assert (np.diff(bin_of(values)) >= 0).all()
    assert bin_of(np.array([0.0, -0.0])).tolist() == [0, 0]


def test_a_bin_is_at_most_a_thousandth_wide():
    values = np.exp(np.random.default_rng(2).uniform(-20, 20, 100_000))
    assert (bin_of(values) != bin_of(values * 1.00101)).all()


# --- binary ---


def test_binary_figures_are_those_of_the_rows():
    logit, label = binary(700)
    label[500:] = np.nan  # not matured
    found = figures("binary", summed(measures("binary", logit, label)), 0.95)
    p, y = 1 / (1 + np.exp(-logit)), label[:500]
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p))
    losses = -(y * np.log(p[:500]) + (1 - y) * np.log(1 - p[:500]))
    gap = losses - entropy[:500]
    assert (found["records"], found["matured"]) == (700, 500)
    wanted = {
        "loss": log_loss(y, p[:500]),
        "loss_low": losses.mean() - Z * losses.std(ddof=1) / np.sqrt(500),
        "loss_high": losses.mean() + Z * losses.std(ddof=1) / np.sqrt(500),
        "expected_loss": entropy.mean(),
        "expected_loss_matured": entropy[:500].mean(),
        "loss_gap": gap.mean(),
        "loss_gap_low": gap.mean() - Z * gap.std(ddof=1) / np.sqrt(500),
        "predicted": p[:500].mean(),
        "observed": y.mean(),
        "calibration_ratio": p[:500].sum() / y.sum(),
    }
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, rel=1e-9)
    assert abs(found["auc"] - roc_auc_score(y, logit[:500])) <= found["auc_error"] < 1e-3


def test_the_auc_of_bins_is_within_its_stated_error_and_mostly_far_below():
    """Logits so close together that a bin holds many of both classes."""
    random = np.random.default_rng(7)
    label = (random.random(50_000) < 0.2).astype(float)
    logit = -4 + 0.02 * random.normal(size=label.size) + 0.02 * label
    found = bin_of(logit)
    edges, place = np.unique(found, return_inverse=True)
    positives, negatives = (np.bincount(place, one, edges.size) for one in (label, 1 - label))
    estimate, error = auc(positives, negatives, Z)
    gap = abs(estimate.value - roc_auc_score(label, logit))
    assert gap <= error
    assert error > 0.005
    assert gap < 0.1 * error


def test_ties_count_half():
    logit = np.array([0.0, 0.0, 1.0, 1.0])
    label = np.array([0.0, 1.0, 0.0, 1.0])
    found = figures("binary", summed(measures("binary", logit, label)), 0.95)
    assert found["auc"] == roc_auc_score(label, logit) == 0.5


@pytest.mark.parametrize("name", ["loss", "auc", "calibration_ratio"])
def test_intervals_are_about_those_of_the_gates_bootstrap(name):
    logit, label = binary(4000, shift=0.4)
    gate = assess("binary", logit, None, label).challenger[name]
    found = figures("binary", summed(measures("binary", logit, label)), 0.95)
    width = gate.high - gate.low
    assert found[name] == pytest.approx(gate.value, abs=1e-3 * width)
    ends = [found[f"{name}_low"], found[f"{name}_high"]]
    assert ends == pytest.approx([gate.low, gate.high], abs=0.08 * width)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """2,000 draws of 400 rows, whose loss, as it is expected, and ratio are known: within 1.5 %."""
    random = np.random.default_rng(3)
    logit = random.normal(-1, 1, (2000, 400))
    label = (random.random(logit.shape) < 1 / (1 + np.exp(-logit))).astype(float)
    held = np.zeros(2)
    for row, y in zip(logit, label, strict=True):
        one = measures("binary", row, y)
        sums = {name: np.array([value]) for name, value in vectorised(one).items()}
        found = figures("binary", sums, 0.9)
        held += [
            found["loss_gap_low"] <= 0 <= found["loss_gap_high"],
            found["calibration_ratio_low"] <= 1 <= found["calibration_ratio_high"],
        ]
    assert held / 2000 == pytest.approx([0.9, 0.9], abs=0.015)


def vectorised(one: dict[str, np.ndarray]) -> dict[str, float]:
    """`summed` in one bin, quickly."""
    loss, expected, p, y = (one[name] for name in ("loss", "expected", "predicted", "observed"))
    gap = loss - expected
    products = [loss.size, expected.sum(), loss.size, loss.sum(), loss @ loss, expected.sum()]
    products += [gap @ gap, p.sum(), y.sum(), p @ p, p @ y, y @ y]
    return dict(zip(SUMS, products, strict=True))


# --- what is not defined ---


def test_without_labels_only_what_is_expected_is_known():
    logit, _ = binary(50)
    found = figures("binary", summed(measures("binary", logit, np.full(50, np.nan))), 0.95)
    known = {name for name, value in found.items() if value is not None}
    assert known == {"records", "matured", "expected_loss", "confidence"}


def test_one_class_has_no_auc_and_no_positive_no_ratio():
    found = figures("binary", summed(measures("binary", np.zeros(5), np.zeros(5))), 0.95)
    assert (found["auc"], found["calibration_ratio"]) == (None, None)
    assert found["loss"] == pytest.approx(np.log(2))


def test_one_row_has_a_mean_without_an_interval():
    assert mean(1, 3.0, 9.0, Z) == (3.0, None, None)


# --- other tasks ---


def test_multiclass_figures_are_those_of_the_rows():
    random = np.random.default_rng(5)
    logits = random.normal(size=(300, 4))
    label = random.integers(0, 4, 300).astype(float)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = figures("multiclass", summed(measures("multiclass", logits, label)), 0.95)
    hits = p.argmax(axis=1) == label
    wanted = {
        "loss": log_loss(label, p),
        "expected_loss": -(p * np.log(p)).sum(axis=1).mean(),
        "predicted": p.max(axis=1).mean(),
        "observed": hits.mean(),
        "calibration_ratio": p.max(axis=1).sum() / hits.sum(),
    }
    assert {name: found[name] for name in wanted} == pytest.approx(wanted)
    assert found["auc"] is None


def test_statistics_of_many_classes_say_what_the_logits_say():
    random = np.random.default_rng(6)
    logits = 3 * random.normal(size=(200, 40))
    label = np.argsort(-logits, axis=1)[np.arange(200), random.integers(0, 8, 200)].astype(float)
    whole = measures("multiclass", logits, label)
    kept = measures("multiclass", statistics(logits).astype(float), label)
    for name in ("loss", "expected", "predicted", "observed"):
        np.testing.assert_allclose(kept[name], whole[name], rtol=1e-3, atol=1e-5)


def test_a_regression_has_half_its_squared_error_and_expects_none():
    value, label = np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, np.nan])
    found = figures("regression", summed(measures("regression", value, label)), 0.95)
    assert (found["loss"], found["predicted"], found["observed"]) == (0.25, 1.5, 2.0)
    absent = ("expected_loss", "expected_loss_matured", "loss_gap", "auc", "calibration_ratio")
    assert [found[name] for name in absent] == [None] * 5


# --- records as they come from a table ---


def records(**columns: list[object]) -> pa.Table:
    n = len(columns["label"])
    day = pa.array([0] * n, pa.int32()).cast(pa.date32())
    given = {
        "event_date": day,
        "model_version": ["1"] * n,
        "segments": pa.array([[]] * n, pa.list_(pa.string())),
        "sketch": pa.nulls(n, pa.list_(pa.float32())),
        "event_time": pa.array([1_000] * n, pa.timestamp("us", "UTC")),
        "recorded_at": pa.array([2_000] * n, pa.int64()),
        "prediction": pa.nulls(n, pa.float64()),
        "logits": pa.nulls(n, pa.list_(pa.float32())),
        "statistics": pa.nulls(n, pa.list_(pa.float32())),
    }
    return pa.table(given | columns)


def test_models_of_different_layouts_are_measured_together():
    wide = statistics(np.arange(20.0)[None])[0].tolist()
    lists = pa.list_(pa.float32())
    rows = records(
        label=[0.0, 2.0, 19.0],
        logits=pa.array([[0.0, 0.0], [0.0, 0.0, 0.0], None], lists),
        statistics=pa.array([None, None, wide], lists),
    )
    found = measured(rows, "multiclass", {})
    losses = sorted(found["loss"].to_pylist())
    assert losses == pytest.approx([0.45867, np.log(2), np.log(3)], abs=1e-4)


def test_a_label_that_is_no_class_of_its_record_is_refused():
    logits = pa.array([[0.0, 0.0]], pa.list_(pa.float32()))
    with pytest.raises(DataQualityError, match="2 classes"):
        measured(records(label=[2.0], logits=logits), "multiclass", {})


def test_records_in_sample_are_left_out():
    late = pa.array([2_000, 90_000_000_000], pa.int64())  # the second a day after its event
    rows = records(label=[1.0, 1.0], prediction=[0.5, 0.5], recorded_at=late)
    assert measured(rows, "binary", {}).num_rows == 1
