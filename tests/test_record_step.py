"""The record step: what the records of all rows say of the last layer that served."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from schemas.sections.budget import parse_budget
from spark_jobs.selection.blocks import ArrowBlocks, split
from spark_jobs.selection.calibration import MIN_ROWS
from spark_jobs.selection.engine import select
from spark_jobs.selection.from_arrow import from_arrow
from spark_jobs.selection.policies import policy_for
from spark_jobs.selection.record_step import RIDGE, ServedVersion, derivatives, step_of, sums
from spark_jobs.selection.tree import add_sums, fold
from tests.helpers.logged_records import binary_records, multiclass_records

N, WIDTH = 600, 3
OLD, NEW = ServedVersion("1", 0), ServedVersion("2", 0)


def records_of(task: str, version: str = "2", n: int = N) -> pa.Table:
    """n records of a model with sketches of three numbers; all but every tenth matured."""
    random = np.random.default_rng(5)
    made = multiclass_records(n) if task == "multiclass" else binary_records(n)
    label = made["label"].to_numpy() if task != "regression" else random.normal(2, 3, n)
    sketch = random.normal(1.0, 2.0, (n, WIDTH)).astype(np.float32)
    columns = {
        "label": pa.array(label, mask=np.arange(n) % 10 == 0),
        "sketch": pa.array(list(sketch), pa.list_(pa.float32())),
        "model_version": pa.array([version] * n),
        "event_time": pa.array(np.arange(n) % 4 * 86_400_000_000, pa.timestamp("us", tz="UTC")),
        "row_weight": pa.array(random.uniform(0.5, 2.0, n), pa.float32()),
        "propensity": pa.array(random.uniform(0.5, 1.0, n), pa.float32()),
    }
    for name, column in columns.items():
        made = made.drop_columns([name]) if name in made.column_names else made
        made = made.append_column(name, column)
    return made


def weights(table: pa.Table) -> np.ndarray:
    """What each row counts for, over the chance that it is there."""
    own, chance = (table[name].cast("double").to_numpy() for name in ("row_weight", "propensity"))
    return own / chance


def by_autograd(table: pa.Table, task: str, clip: float) -> tuple[np.ndarray, np.ndarray]:
    """Gradient (m, 1 + width) and second derivatives (m, 1 + width, 1 + width) of the weighted sum
    of the losses, by the move of each output alone, row by row, at no move."""
    matured = table.filter(table["label"].is_valid())
    label = torch.tensor(matured["label"].to_numpy())
    weight = torch.tensor(weights(matured))
    sketch = torch.tensor(np.array(matured["sketch"].to_pylist()))
    one = torch.cat([torch.ones(len(label), 1), sketch], dim=1).double()
    name = "logits" if task == "multiclass" else "prediction"
    output = torch.tensor(np.array(matured[name].to_pylist()).reshape(len(label), -1)).double()

    def loss(move: torch.Tensor) -> torch.Tensor:
        moved = output + one @ move.T
        if task == "multiclass":
            each = torch.nn.functional.cross_entropy(moved, label.long(), reduction="none")
        elif task == "binary":
            binary = torch.nn.functional.binary_cross_entropy_with_logits
            each = binary(moved[:, 0], label, reduction="none")
        else:
            each = torch.nn.functional.huber_loss(moved[:, 0], label, reduction="none", delta=clip)
        return (weight * each).sum()

    none = torch.zeros(output.shape[1], one.shape[1], dtype=torch.float64)
    gradient = torch.autograd.functional.jacobian(loss, none)
    whole = torch.autograd.functional.hessian(loss, none)
    own = [whole[c, :, c, :] for c in range(len(none))]
    return gradient.numpy(), torch.stack(own).numpy()


@pytest.mark.parametrize(
    ("task", "clip", "factor"), [("binary", 1, 1), ("multiclass", 1, 2), ("regression", 2.5, 1)]
)
def test_the_sums_are_the_derivatives_of_the_weighted_loss(task, clip, factor):
    table = records_of(task)
    found = sums(from_arrow(table, 7), ServedVersion("2", 0, clip), task, WIDTH)
    gradient, second = by_autograd(table, task, clip)
    np.testing.assert_allclose(found["step_gradient"], gradient, rtol=1e-9, atol=1e-9)
    # Softmax's blocks are doubled: that covers what they leave out beside the diagonal.
    np.testing.assert_allclose(found["step_second"], factor * second, rtol=1e-9)
    assert found["step_rows"] == table.num_rows - table["label"].null_count


def test_doubled_blocks_are_never_less_than_softmax_bends():
    random = np.random.default_rng(3)
    logits = random.normal(scale=4.0, size=(50, 6))
    _, bends = derivatives("multiclass", logits, np.zeros(50), np.inf)
    for row, bend in zip(logits, bends, strict=True):
        p = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
        whole = np.diag(p) - np.outer(p, p)
        assert np.linalg.eigvalsh(np.diag(bend) - whole).min() > -1e-12


def test_only_what_is_news_to_the_model_counts():
    mixed = pa.concat_tables([records_of("binary", "1"), records_of("binary", "2")])
    mixed = mixed.set_column(0, "instance_id", pa.array([str(i) for i in range(2 * N)]))
    records = from_arrow(mixed, 7)
    matured = 0.9 * N
    assert sums(records, OLD, "binary", WIDTH)["step_rows"] == matured
    assert (
        sums(records, ServedVersion("2", 2), "binary", WIDTH)["step_rows"]
        == matured / 2 + N / 20 - 30
    )
    assert sums(records, ServedVersion("3", 0), "binary", WIDTH)["step_rows"] == 0
    assert step_of(sums(records, ServedVersion("3", 0), "binary", WIDTH), OLD) is None


def test_a_whole_step_of_squared_errors_is_weighted_least_squares():
    table = records_of("regression")
    step = step_of(sums(from_arrow(table, 7), NEW, "regression", WIDTH), NEW)
    assert step is not None
    matured = table.filter(table["label"].is_valid())
    one = np.column_stack([np.ones(matured.num_rows), np.array(matured["sketch"].to_pylist())])
    error = matured["label"].to_numpy() - matured["prediction"].to_numpy()
    weight = weights(matured)
    normal = one.T @ (weight[:, None] * one)
    ridge = RIDGE * np.trace(normal) / len(normal) * np.eye(len(normal))
    best = np.linalg.solve(normal + ridge, one.T @ (weight * error))
    np.testing.assert_allclose(np.array(step.move)[:, 0], best, rtol=1e-9)
    took = (weight * (error**2 - (error - one @ best) ** 2)).sum() / 2 / weight.sum()
    assert step.gain == pytest.approx(took)


def test_too_few_records_give_no_step():
    outputs, numbers = 4, 4 * (1 + WIDTH)
    enough = MIN_ROWS * numbers  # of matured records: nine of ten
    for rows, given in ((enough, False), (enough * 10 // 9 + 10, True)):
        records = from_arrow(records_of("multiclass", n=rows), 7)
        step = step_of(sums(records, NEW, "multiclass", WIDTH), NEW)
        assert (step is not None) == given
    assert step is not None
    assert np.shape(step.move) == (1 + WIDTH, outputs)


def test_a_model_that_is_sure_and_sometimes_wrong_is_not_moved_without_end():
    n = 2000
    table = pa.table(
        {
            "instance_id": pa.array(np.arange(n)),
            "prediction": np.full(n, -30.0),
            "label": (np.arange(n) % 100 == 0).astype(np.float64),
            "sketch": pa.array(np.zeros((n, 1)).tolist(), pa.list_(pa.float32())),
        }
    )
    any_version = ServedVersion("", 0)
    step = step_of(sums(from_arrow(table, 7), any_version, "binary", 1), any_version)
    assert step is not None
    assert step.gain == pytest.approx(0.3)  # all that these rows lose
    assert 0 < step.move[0][0] < 1000


def test_nothing_bends_beyond_hubers_delta():
    table = records_of("regression")
    far = table.set_column(table.column_names.index("prediction"), "prediction", [[1e6] * N])
    served = ServedVersion("2", 0, 1.0)
    step = step_of(sums(from_arrow(far, 7), served, "regression", WIDTH), served)
    assert step is not None
    assert not np.any(step.move)


def test_law_1_blocks_add_up_to_the_same_step():
    records = from_arrow(records_of("binary"), 7)
    whole = step_of(sums(records, NEW, "binary", WIDTH), NEW)
    parts = {i: sums(part, NEW, "binary", WIDTH) for i, part in split(records, 3)}
    assert whole is not None
    again = step_of(fold(parts, 3, add_sums)[0], NEW)
    assert again is not None
    assert again.rows == whole.rows
    np.testing.assert_allclose(again.move, whole.move, rtol=1e-9)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_a_calibrated_selection_reports_it_and_draws_as_without(task):
    blocks, policy = ArrowBlocks(from_arrow(records_of(task), 7)), policy_for("calibrated", task)
    plain = select(blocks, policy, parse_budget(0.5), 7, task)
    stepped = select(blocks, policy, parse_budget(0.5), 7, task, NEW)
    step = step_of(sums(from_arrow(records_of(task), 7), NEW, task, WIDTH), NEW)
    assert step is not None
    assert stepped.digest == plain.digest
    assert stepped.report == plain.report | step.told()


def test_more_than_sixteen_classes_have_none():
    table = multiclass_records(N, classes=20)
    served = ServedVersion("", 0)
    records = from_arrow(table, 7)
    assert step_of(sums(records, served, "multiclass", 2), served) is None
    policy = policy_for("calibrated", "multiclass")
    report = select(ArrowBlocks(records), policy, parse_budget(0.5), 7, "multiclass", served).report
    assert "record_step" not in report
