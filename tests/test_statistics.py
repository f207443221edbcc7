"""Records of more than 16 classes: which numbers are kept, and what is exact of what they give."""

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import log_softmax, softmax
from scipy.stats import entropy

from schemas.errors import ConfigurationError
from schemas.statistics import (
    CLASSES,
    PROJECTION,
    TOP,
    TOP_CLASSES,
    WIDTH,
    directions,
    residual_norm,
    statistics,
    summarised,
)
from spark_jobs.selection import draw, tasks

N, C = 4000, 50
RANDOM = np.random.default_rng(1)
LOGITS = RANDOM.normal(size=(N, C)) * 2
P = softmax(LOGITS, axis=1)
LABEL = (P.cumsum(axis=1) < RANDOM.random((N, 1))).sum(axis=1).astype(float)
KEPT = statistics(LOGITS).astype(float)
AMONG = (KEPT[:, TOP_CLASSES] == LABEL[:, None]).any(axis=1)
ONEHOT = np.eye(C)[LABEL.astype(int)]


def test_a_record_has_36_numbers_whatever_the_classes():
    assert KEPT.shape == (N, WIDTH) == (N, 36)
    assert statistics(np.zeros((2, 3000))).shape == (2, 36)
    assert (KEPT[:, CLASSES] == C).all()
    np.testing.assert_array_equal(KEPT[:, TOP_CLASSES], np.argsort(-LOGITS, axis=1)[:, :TOP])
    assert summarised(KEPT)
    assert not summarised(LOGITS[:, :16])


def test_entropy_and_margin_are_exact():
    np.testing.assert_allclose(tasks.entropy("multiclass", KEPT), entropy(P, axis=1), rtol=1e-5)
    first, second = np.sort(P, axis=1)[:, -1], np.sort(P, axis=1)[:, -2]
    np.testing.assert_allclose(tasks.margin("multiclass", KEPT), first - second, atol=1e-6)


def test_loss_and_residual_norm_are_exact_for_a_label_among_the_kept_classes():
    loss = -log_softmax(LOGITS, axis=1)[np.arange(N), LABEL.astype(int)]
    norm = np.linalg.norm(P - ONEHOT, axis=1)
    assert 0.6 < AMONG.mean() < 0.95
    np.testing.assert_allclose(tasks.loss("multiclass", KEPT, LABEL)[AMONG], loss[AMONG], rtol=1e-5)
    np.testing.assert_allclose(residual_norm(KEPT, LABEL)[AMONG], norm[AMONG], rtol=1e-4, atol=2e-5)


def test_for_another_label_the_rest_is_spread_evenly_and_the_residual_norm_hardly_moves():
    p_y = P[np.arange(N), LABEL.astype(int)]
    rest = (1 - np.sort(P, axis=1)[:, -TOP:].sum(axis=1)) / (C - TOP)
    far = ~AMONG
    found = tasks.loss("multiclass", KEPT, LABEL)
    np.testing.assert_allclose(found[far], -np.log(rest[far]), rtol=1e-3)
    # The largest error there can be: p_y is at most the smallest kept probability.
    norm = np.linalg.norm(P - ONEHOT, axis=1)
    bound = np.sort(P, axis=1)[:, -TOP]
    assert (np.abs(residual_norm(KEPT, LABEL) ** 2 - norm**2)[far] <= 2 * bound[far] + 1e-5).all()
    assert np.abs(found[far] + np.log(p_y[far])).mean() < 1.0


def test_the_projected_residual_is_exact_whatever_the_label():
    directly = (P - ONEHOT) @ directions(np.arange(C))
    np.testing.assert_allclose(tasks.residual("multiclass", KEPT, LABEL), directly, atol=1e-6)


def test_directions_have_length_1_are_nearly_orthogonal_and_never_change():
    columns = directions(np.arange(500))
    np.testing.assert_allclose(np.linalg.norm(columns, axis=1), 1)
    products = (columns @ columns.T)[np.triu_indices(500, 1)]
    assert abs(products.mean()) < 3 * 0.25 / np.sqrt(products.size)
    assert products.std() == pytest.approx(0.25, rel=0.02)
    np.testing.assert_array_equal(columns[:50], directions(np.arange(50)))
    signs = "".join("+" if x > 0 else "-" for x in directions(np.array([7]))[0])
    assert signs == "--+------+---+-+"


def test_a_class_that_cannot_be_is_no_obstacle():
    masked = np.concatenate([LOGITS[:5], np.full((5, 1), -np.inf)], axis=1)
    again = statistics(masked)
    assert np.isfinite(again).all()
    np.testing.assert_allclose(again[:, PROJECTION], KEPT[:5, PROJECTION], atol=1e-6)


def candidates(logits: np.ndarray = LOGITS) -> pa.Table:
    return pa.table(
        {
            "instance_id": [f"i{i}" for i in range(N)],
            "logits": pa.array(list(logits.astype(np.float32)), pa.list_(pa.float32())),
            "label": LABEL,
            "sketch": pa.array(list(logits[:, :4].astype(np.float32)), pa.list_(pa.float32())),
        }
    )


@pytest.mark.parametrize("policy", ["calibrated", "grad-norm", "balanced", "obftf", "uncertainty"])
def test_selection_runs_on_them_and_keeps_its_probabilities(policy):
    drawn = draw(candidates(), policy=policy, budget=0.1, seed=3)
    assert drawn["drawn"].to_numpy(zero_copy_only=False).sum() == N // 10
    assert drawn["probability"].to_numpy().sum() == pytest.approx(N // 10)


def test_calibrated_weights_reproduce_the_projected_residuals_of_all_records():
    """The totals of P (p - e_y) over all N, met by the drawn rows more closely than by 1/pi."""
    residual = tasks.residual("multiclass", KEPT, LABEL)
    whole = residual.mean(axis=0)

    def gap(policy: str) -> float:
        drawn = draw(candidates(), policy=policy, budget=0.1, seed=3)
        weight = drawn["weight"].to_numpy()
        return float(np.linalg.norm(weight @ residual / (N // 10) - whole))

    assert gap("calibrated") < 0.5 * gap("grad-norm")


def test_what_needs_the_probability_of_every_class_is_refused():
    with pytest.raises(ConfigurationError, match="more than 16 classes the probability of each"):
        tasks.class_probabilities("multiclass", KEPT)
