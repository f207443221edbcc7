"""Every policy on every task: it draws its budget, or says why not and what to write instead."""

import numpy as np
import pyarrow as pa
import pytest

from schemas.errors import ConfigurationError, NoDataError
from schemas.pipeline import load_pipeline
from schemas.sections.budget import parse_budget
from spark_jobs.selection import draw
from spark_jobs.selection.blocks import ArrowBlocks
from spark_jobs.selection.designs import DESIGNS
from spark_jobs.selection.draw import selection_of
from spark_jobs.selection.engine import select
from spark_jobs.selection.from_arrow import from_arrow
from spark_jobs.selection.policies import (
    POLICIES,
    beside,
    biased_by_design,
    configured,
    policy_for,
)
from spark_jobs.selection.policy import Policy, Strata
from spark_jobs.selection.scores import SCORES
from spark_jobs.selection.tasks import TASKS, sigmoid, softmax
from tests.helpers.logged_records import binary_records, multiclass_records, regression_records

N, K = 400, 40
MAKERS = {
    "binary": binary_records,
    "multiclass": multiclass_records,
    "regression": regression_records,
}
TABLES = {task: make(N) for task, make in MAKERS.items()}
OFFSET = r"weighting = 'offset': an offset is a logit's.*Remedy: write weighting = \"inverse\""
REFUSED = {
    ("uncertainty", "regression"): r"score = 'entropy': .* binary and multiclass, not regression",
    ("local-case-control", "multiclass"): OFFSET,
    ("local-case-control", "regression"): OFFSET,
    ("negative-downsampling", "multiclass"): r"'rare-label' is defined for binary, not multiclass",
    ("negative-downsampling", "regression"): r"'rare-label' is defined for binary, not regression",
}
ALLOWED = [(p, t) for p in POLICIES for t in TASKS if (p, t) not in REFUSED]


def require_drawn(frame, policy: Policy, k: int, n: int) -> None:
    """The size is k, or that of a Poisson draw; probabilities and weights are what they should."""
    if DESIGNS[policy.design].fixed_size:
        assert frame.drawn.sum() == k
    else:
        spread = np.sqrt((frame.probability * (1 - frame.probability)).sum())
        assert abs(frame.drawn.sum() - k) <= 5 * spread
    assert frame.probability.sum() == pytest.approx(k, rel=1e-9)
    assert frame.probability.between(0, 1, inclusive="right").all()
    assert (frame.weight[~frame.drawn] == 0).all()
    assert (frame.weight[frame.drawn] > 0).all()
    assert np.isfinite(frame[["score", "weight", "offset"]]).all(axis=None)
    if policy.weighting == "inverse" and not policy.calibrated:
        chosen = frame[frame.drawn]
        np.testing.assert_allclose(chosen.weight, k / n / chosen.probability, rtol=1e-12)
    if policy.weighting == "none":
        assert (frame.weight[frame.drawn] == 1).all()


@pytest.mark.parametrize(("name", "task"), ALLOWED)
def test_every_policy_draws_its_budget(name, task):
    policy = policy_for(name, task)
    frame = draw(TABLES[task], policy=name, budget=0.1, seed=7, task=task).to_pandas()
    require_drawn(frame, policy, K, N)
    assert frame.instance_id.tolist() == TABLES[task]["instance_id"].to_pylist()


@pytest.mark.parametrize(("name", "task"), list(REFUSED))
def test_a_policy_that_a_task_does_not_allow_is_refused_with_the_remedy(name, task):
    expected = f"policy {name!r}.*{REFUSED[name, task]}.*Remedy: "
    if REFUSED[name, task] is OFFSET:
        expected = f"policy {name!r}: {OFFSET}"
    with pytest.raises(ConfigurationError, match=expected):
        draw(TABLES[task], policy=name, seed=7, task=task)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("design", list(DESIGNS))
@pytest.mark.parametrize("score", list(SCORES))
def test_any_score_goes_with_any_design(score, design, task):
    if task not in SCORES[score].tasks:
        with pytest.raises(ConfigurationError, match=f"score = {score!r}.*not {task}.*Remedy"):
            policy_for("uniform", task, score=score, design=design)
        return
    policy = policy_for("uniform", task, score=score, design=design)
    require_drawn(draw(TABLES[task], policy=policy, seed=3, task=task).to_pandas(), policy, K, N)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": "best"}, r"score = 'best': unknown. Remedy: choose one of one, residual-norm"),
        ({"design": "best"}, r"design = 'best': unknown. Remedy: choose one of systematic"),
        ({"weighting": "best"}, r"weighting = 'best': unknown. Remedy: choose one of none"),
        ({"mixture": {"best": 1.0}, "score": "mixture"}, r"no score 'best'. Remedy"),
        ({"design": "top"}, r"weighting = 'inverse': .*'top' does not promise.*Remedy: write"),
        ({"design": "mean-match"}, r"'mean-match' does not promise its probabilities. Remedy"),
        (
            {"design": "top", "weighting": "none", "score": "one", "calibrated": True},
            r"calibrated = True: .*'top' does not promise.*Remedy: choose systematic",
        ),
        ({"weighting": "none", "calibrated": True}, r"weights of 1 after unequal .*Remedy: write"),
        (
            {"design": "poisson", "strata": Strata(0, 1)},
            r"strata = .*'poisson' cannot guarantee.*Remedy: choose one of systematic",
        ),
        ({"bounds": (1.1, 4.0)}, r"bounds = \(1.1, 4.0\): must enclose 1 and be above 0. Remedy"),
        ({"bounds": (0.0, 4.0)}, r"bounds = \(0.0, 4.0\): must enclose 1"),
    ],
)
def test_parts_that_do_not_fit_are_refused_with_field_value_and_remedy(changes, message):
    with pytest.raises(ConfigurationError, match=rf"policy 'grad-norm': .*{message}"):
        policy_for("grad-norm", "binary", **changes)


def test_an_unknown_policy_is_refused_with_the_known_ones():
    with pytest.raises(ConfigurationError, match=r"policy = 'best': unknown.*calibrated, uniform"):
        draw(TABLES["binary"], policy="best")


def test_a_pipeline_file_changes_the_parts_of_its_policy():
    changes = {"policy": "grad-norm", "floor": 0.3, "design": "cube", "calibrated": True}
    changes |= {"ridge": 0.0, "bounds": [0.5, 2.0], "score": "loss", "weighting": "inverse"}
    changes |= {"unmatured": "down-weight", "unmatured_weight": 0.25, "beta": 3.0}
    changes |= {"strata": {"segment": "carrier", "min_share": 0.01}}
    overrides = {f"selection.{name}": value for name, value in changes.items()}
    assert configured(load_pipeline("pipelines/flights.toml", overrides)) == Policy(
        "grad-norm",
        score="loss",
        design="cube",
        weighting="inverse",
        floor=0.3,
        calibrated=True,
        ridge=0.0,
        bounds=(0.5, 2.0),
        beta=3.0,
        strata=Strata(1, min_share=0.01),
        unmatured_weight=0.25,
    )


def test_a_policy_beside_that_of_the_file_has_its_own_parts():
    """What [selection] changes belongs to its policy; strata and unmatured labels to the data."""
    changes = {"policy": "grad-norm", "score": "loss", "weighting": "none", "floor": 0.3}
    changes |= {"unmatured": "down-weight", "unmatured_weight": 0.25, "ridge": 1.0, "beta": 3.0}
    changes |= {"calibrated": False, "strata": {"segment": "carrier", "min_share": 0.01}}
    overrides = {f"selection.{name}": value for name, value in changes.items()}
    pipeline = load_pipeline("pipelines/flights.toml", overrides)
    assert beside(pipeline, "grad-norm") == configured(pipeline)
    data = {"strata": Strata(1, min_share=0.01), "unmatured_weight": 0.25}
    for name in ("calibrated", "uniform", "balanced", "mixture"):
        assert beside(pipeline, name) == policy_for(name, "binary", **data), name


def test_a_mixture_takes_the_weights_that_the_refresh_before_has_left():
    pipeline = load_pipeline("pipelines/flights.toml", {"selection.policy": "mixture"})
    assert configured(pipeline).scores == dict.fromkeys(
        ("one", "residual-norm", "loss", "entropy"), 0.25
    )
    assert configured(pipeline, {"one": 0.9, "loss": 0.1}).scores == {"one": 0.9, "loss": 0.1}


def test_calibrated_is_weighted_for_a_task_without_a_logit_and_uniform_for_regression():
    assert policy_for("calibrated", "binary").weighting == "offset"
    assert policy_for("calibrated", "multiclass").weighting == "inverse"
    regression = policy_for("calibrated", "regression")
    assert (regression.score, regression.floor, regression.weighting) == ("one", 0.0, "inverse")


@pytest.mark.parametrize("name", ["calibrated", "local-case-control"])
def test_an_offset_keeps_both_probabilities(name):
    """o = log pi(1) / pi(0), and the probability of the draw is that of the row's own label."""
    rows = selection_of(TABLES["binary"], policy=name, budget=0.1, seed=7).rows(False).to_pandas()
    log_ratio = np.log(rows.probability_positive / rows.probability_negative)
    np.testing.assert_allclose(rows.offset, log_ratio, rtol=1e-12)
    own = np.where(rows.label == 1, rows.probability_positive, rows.probability_negative)
    np.testing.assert_array_equal(rows.probability, own)


def test_local_case_control_offsets_are_the_logits():
    """pi(1) / pi(0) = (1 - p) / p where nothing is capped: o = -f."""
    table = TABLES["binary"]
    frame = draw(table, policy="local-case-control", budget=0.02, seed=7).to_pandas()
    np.testing.assert_allclose(frame.offset, -table["prediction"].to_numpy(), rtol=1e-9)


def scores_of(table: pa.Table, task: str, **changes) -> dict[str, np.ndarray]:
    """Columns of a selection among records of which some have no label, in the order given."""
    policy = policy_for("grad-norm", task, **changes)
    found = select(ArrowBlocks(from_arrow(table, 1)), policy, parse_budget(0.1), 1, task)
    rows = found.rows(False).to_pandas().set_index("instance_id")
    return rows.loc[table["instance_id"].to_pylist()]


def half_waiting(table: pa.Table) -> tuple[pa.Table, np.ndarray]:
    """Every other label is null."""
    waiting = np.arange(table.num_rows) % 2 == 0
    label = pa.array(table["label"].to_numpy(), mask=waiting)
    place = table.column_names.index("label")
    return table.set_column(place, "label", label), waiting


def test_records_without_a_label_get_the_score_that_their_prediction_expects():
    """E|p - y| = 2 p (1 - p)."""
    table, waiting = half_waiting(TABLES["binary"])
    p, y = sigmoid(table["prediction"].to_numpy()), TABLES["binary"]["label"].to_numpy()
    expected = np.where(waiting, 2 * p * (1 - p), np.abs(p - y))
    np.testing.assert_allclose(scores_of(table, "binary").score, expected, rtol=1e-12)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_the_expected_loss_is_the_entropy(task):
    table, waiting = half_waiting(TABLES[task])
    waited, entropy = (
        scores_of(table, task, score=one).score[waiting] for one in ("loss", "entropy")
    )
    np.testing.assert_allclose(waited, entropy, rtol=1e-9)


def test_the_expected_residual_of_several_classes():
    """Sum over c of p_c ||p - e_c||."""
    table, waiting = half_waiting(TABLES["multiclass"])
    p = softmax(np.array(table["logits"].to_pylist(), float))
    norms = np.linalg.norm(p[:, None, :] - np.eye(4)[None], axis=2)
    expected = (p * norms).sum(axis=1)[waiting]
    np.testing.assert_allclose(scores_of(table, "multiclass").score[waiting], expected, rtol=1e-9)


def test_rows_without_a_label_weigh_less_where_the_policy_says_so():
    table, waiting = half_waiting(TABLES["binary"])
    full, less = (scores_of(table, "binary", unmatured_weight=w) for w in (1.0, 0.25))
    assert full.drawn.tolist() == less.drawn.tolist()
    np.testing.assert_allclose(less.weight, full.weight * np.where(waiting, 0.25, 1.0))


@pytest.mark.parametrize(
    ("weighting", "task"), [("inverse", "binary"), ("offset", "binary"), ("inverse", "multiclass")]
)
def test_calibration_leaves_rows_without_a_label_alone(weighting, task):
    """Their weights are what the weighting gives them, times what the policy says; the others'
    are calibrated to the totals of the labelled, and do not depend on it."""
    table, waiting = half_waiting(TABLES[task])
    change = {"weighting": weighting, "unmatured_weight": 0.25}
    plain = scores_of(table, task, **change)
    full = scores_of(table, task, **change | {"calibrated": True, "unmatured_weight": 1.0})
    less = scores_of(table, task, **change | {"calibrated": True})
    np.testing.assert_array_equal(less.weight[waiting], plain.weight[waiting])
    np.testing.assert_array_equal(less.weight[~waiting], full.weight[~waiting])
    assert (less.weight != plain.weight)[~waiting & less.drawn].all()


def test_calibration_reproduces_the_totals_of_the_labelled():
    records = binary_records(5000)
    table, waiting = half_waiting(records)
    policy = {"weighting": "inverse", "calibrated": True, "unmatured_weight": 0.25, "ridge": 0.0}
    rows = scores_of(table, "binary", **policy, bounds=(0.01, 100.0))
    gap = sigmoid(records["prediction"].to_numpy()) - records["label"].to_numpy()
    labelled = rows.weight.to_numpy() * ~waiting
    assert labelled.sum() / 500 == pytest.approx((~waiting).mean(), rel=1e-6)
    assert labelled @ gap / 500 == pytest.approx((gap * ~waiting).mean(), rel=1e-6)


def test_every_policy_says_whether_it_is_biased_by_design():
    biased = {name for name in POLICIES if biased_by_design(policy_for(name, "binary"))}
    assert biased == {"obftf", "selective-backprop", "max-loss", "min-loss"}


def test_the_gap_on_the_report_is_that_of_the_weights_that_are_trained_on():
    """Rows drawn by their loss that all weigh 1: their plain mean, and not one mended by 1/pi."""
    policy = policy_for("grad-norm", "binary", weighting="none")
    found = selection_of(binary_records(5000), policy=policy, budget=0.1, seed=7, task="binary")
    rows = found.rows(False).to_pandas()
    plain = rows.loss[rows.drawn].mean() - rows.loss.mean()
    assert found.report["mean_loss_gap"] == pytest.approx(plain)
    assert found.report["mean_loss_gap_z"] > 4
    assert found.report["biased_by_design"].startswith("Biased by design: rows are drawn with")
    whole = selection_of(TABLES["binary"], policy=policy, budget=1.0, seed=7, task="binary")
    assert whole.report["biased_by_design"] is None


EDGES = {
    "perfect predictions": lambda n: (np.full(n, 2.0), np.full(n, 2.0)),
    "equal losses": lambda n: (np.zeros(n), np.ones(n)),
    "one outlier": lambda n: (np.zeros(n), np.r_[1e6, np.zeros(n - 1)]),
    "huge predictions": lambda n: (np.full(n, 1e6), np.arange(n) / n),
}


@pytest.mark.parametrize("edge", list(EDGES))
@pytest.mark.parametrize("name", [name for name, task in ALLOWED if task == "regression"])
def test_degenerate_regressions_are_drawn(name, edge):
    prediction, label = EDGES[edge](N)
    ids = np.arange(N)
    table = pa.table({"instance_id": ids, "prediction": prediction, "label": label})
    frame = draw(table, policy=name, budget=0.1, seed=3, task="regression").to_pandas()
    require_drawn(frame, policy_for(name, "regression"), K, N)


@pytest.mark.parametrize("logit", [-800.0, 0.0, 800.0])
@pytest.mark.parametrize("name", [name for name, task in ALLOWED if task == "binary"])
def test_a_binary_model_that_is_sure_or_ignorant_is_drawn(name, logit):
    """Every loss is 0, log 2 or 800; there are no positives to be rare."""
    columns = {"instance_id": np.arange(N), "prediction": np.full(N, logit), "label": np.zeros(N)}
    frame = draw(pa.table(columns), policy=name, budget=0.1, seed=3, task="binary").to_pandas()
    require_drawn(frame, policy_for(name, "binary"), K, N)


FIXED = [(p, t) for p, t in ALLOWED if DESIGNS[policy_for(p, t).design].fixed_size]


@pytest.mark.parametrize(("name", "task"), FIXED)
def test_the_smallest_budget(name, task):
    frame = draw(TABLES[task], policy=name, budget="1 rows", seed=8, task=task).to_pandas()
    require_drawn(frame, policy_for(name, task), 1, N)


@pytest.mark.parametrize(("name", "task"), ALLOWED)
def test_the_largest_budget(name, task):
    frame = draw(TABLES[task], policy=name, budget=1.0, seed=7, task=task).to_pandas()
    assert frame.drawn.all()
    np.testing.assert_allclose(frame.probability, 1.0)
    np.testing.assert_allclose(frame.offset, 0.0, atol=1e-12)


@pytest.mark.parametrize("name", list(POLICIES))
def test_no_candidates_are_no_data(name):
    with pytest.raises(NoDataError, match=r"no candidates.*Remedy"):
        draw(TABLES["binary"].slice(0, 0), policy=name, task="binary")


@pytest.mark.parametrize("name", list(POLICIES))
def test_a_single_candidate_is_drawn(name):
    only = TABLES["binary"].slice(0, 1)
    assert draw(only, policy=name, task="binary")["drawn"].to_pylist() == [True]


def test_an_empty_poisson_draw_is_no_data():
    """One row is expected; with this seed none is drawn."""
    with pytest.raises(NoDataError, match=r"the poisson draw is empty. Remedy: raise the budget"):
        draw(TABLES["binary"], policy="infobatch", budget="1 rows", seed=1)
