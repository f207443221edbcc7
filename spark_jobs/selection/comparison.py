"""Which policy and budget suit these records: answered from the records alone, before any training.

Each policy draws a few times. A draw is judged by one Newton step of the logistic (or linear)
model whose features are the sketch: how much more loss that step would leave than the same step on
all records, (1/2) e' H e with e the difference of the steps and H the full data's curvature. With
its own weights and offsets in both gradient and curvature, this holds for every weighting alike.
Calibrated draws reproduce the sketch's own totals, which makes them look too good in that space; so
the same is computed with products of sketch numbers besides, which no draw is calibrated on.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from schemas.sections.budget import Budget
from spark_jobs.selection import tasks
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.blocks import ArrowBlocks
from spark_jobs.selection.engine import SelectionResult, select
from spark_jobs.selection.hashing import hash_step
from spark_jobs.selection.one_thread import one_thread
from spark_jobs.selection.policy import Policy
from spark_jobs.selection.records import Records, reordered

PRODUCTS = 32  # pairs of sketch numbers, beyond what calibration sees
_RIDGE = 1e-3  # of the mean curvature: a feature that is constant or double stays harmless
_ROUNDING = 1e-9  # of a step: two that differ by less are one, and a draw of all leaves no excess


@dataclass(frozen=True)
class ComparisonLine:
    """One policy at one budget; medians over the draws. Losses are in the task's own units.

    Where a share of the ids stood for all, rows and effective size are those of all candidates, and
    losses those of the smaller draw: so many times larger, about, for every policy alike.
    """

    policy: str
    budget: str
    rows: int
    sketch_loss: float  # predicted excess loss, features: the sketch
    wider_loss: float  # the same with products of sketch numbers
    wider_range: tuple[float, float]
    effective_sample_size: float
    max_weight: float
    top_loss_kept: float  # share of the records with the 1 % largest losses
    least_segment: float  # smallest ratio of a segment's share of the draw to its share of all


class Draw(NamedTuple):
    """What one draw leaves, by record (n,)."""

    drawn: Array
    weight: Array
    offset: Array


def features(records: Records, seed: int) -> tuple[Array, Array]:
    """(n, 1 + d) of the standardised sketch, and the same with `PRODUCTS` products besides.

    Without a sketch the prediction stands in for it.
    """
    flat = records.prediction if records.prediction.ndim == 2 else records.prediction[:, None]
    raw = records.sketch if records.sketch.shape[1] else flat
    values = raw.astype(np.float64)
    spread = values.std(axis=0)
    values = (values - values.mean(axis=0)) / np.where(spread > 0.0, spread, 1.0)
    narrow = np.hstack([np.ones((records.size, 1)), values])
    width = values.shape[1]
    picks = ([hash_step(seed, j, side) % width for side in (0, 1)] for j in range(PRODUCTS))
    pairs = sorted({(a, b) for a, b in picks})
    products = np.stack([values[:, a] * values[:, b] for a, b in pairs], axis=1)
    return narrow, np.hstack([narrow, products])


def newton_steps(task: str, records: Records, draw: Draw, z: Array) -> tuple[Array, Array]:
    """The step -H^-1 g of each output (m, q) on the drawn rows, and their curvatures (m, q, q).

    A classifier's curvature is taken output by output, p (1 - p) z z'.
    """
    chosen = draw.drawn
    prediction, z = records.prediction[chosen], z[chosen]
    if task == "binary":
        prediction = prediction + draw.offset[chosen]
    residual = tasks.residual(task, prediction, records.label[chosen])
    weight = draw.weight[chosen, None] / draw.weight[chosen].sum()
    curve = _curvature(task, prediction, residual)
    steps, curvatures = [], []
    with one_thread():
        for c in range(residual.shape[1]):
            hessian = (z * (weight[:, 0] * curve[:, c])[:, None]).T @ z
            hessian += _RIDGE * np.trace(hessian) / z.shape[1] * np.eye(z.shape[1])
            gradient = z.T @ (weight[:, 0] * residual[:, c])
            steps.append(-np.linalg.solve(hessian, gradient))
            curvatures.append(hessian)
    return np.stack(steps), np.stack(curvatures)


def _curvature(task: str, prediction: Array, residual: Array) -> Array:
    if task == "regression":
        return np.ones_like(residual)
    p = tasks.class_probabilities(task, prediction)
    p = p[:, 1:] if task == "binary" else p
    return np.maximum(p * (1.0 - p), 1e-6)


def excess_loss(task: str, records: Records, draw: Draw, z: Array) -> float:
    """How much more loss the step on the drawn rows leaves than the step on all."""
    n = records.size
    stands_for = records.row_weight / records.propensity
    everything = Draw(np.ones(n, bool), stands_for, np.zeros(n))
    full, curvature = newton_steps(task, records, everything, z)
    error = newton_steps(task, records, draw, z)[0] - full
    error = np.where(np.abs(error) <= _ROUNDING * np.abs(full).max(), 0.0, error)
    return float(0.5 * np.einsum("ci,cij,cj->", error, curvature, error))


def compare(
    records: Records,
    task: str,
    policies: Mapping[str, Policy],
    budgets: Mapping[str, Budget],
    seeds: Sequence[int],
    share: float = 1.0,
) -> Iterator[ComparisonLine]:
    """One line a policy and budget, as they are ready.

    share: of the ids, where the records are those of some that stand for all: budgets and minima in
    rows are taken in proportion.
    """
    policies = {name: _within(policy, records, share) for name, policy in policies.items()}
    orders = [reordered(records, seed) for seed in seeds]
    spaces = [features(one, seeds[0]) for one in orders]
    for budget_name, budget in budgets.items():
        for policy_name, policy in policies.items():
            draws = []
            for seed, here, (narrow, wide) in zip(seeds, orders, spaces, strict=True):
                selection = select(ArrowBlocks(here), policy, budget.within(share), seed, task)
                draw = _draw(selection)
                losses = [excess_loss(task, here, draw, z) for z in (narrow, wide)]
                draws.append((losses, selection.report))
            line = _line(policy_name, budget_name, draws)
            yield line if share == 1.0 else _of_all(line, budget, records.size, share)


def _within(policy: Policy, records: Records, share: float) -> Policy:
    """The policy with its minimum of rows in proportion, and no more than chance has left of a
    level: what all rows allow is not refused for a share of them."""
    strata = policy.strata
    if strata is None or not strata.min_count or share == 1.0:
        return policy
    levels = np.bincount(records.segments[:, strata.place])
    least = min(max(1, round(strata.min_count * share)), int(levels[levels > 0].min()))
    return replace(policy, strata=replace(strata, min_count=least))


def _of_all(line: ComparisonLine, budget: Budget, kept: int, share: float) -> ComparisonLine:
    return replace(
        line,
        rows=budget.rows(round(kept / share)),
        effective_sample_size=line.effective_sample_size / share,
    )


def _draw(selection: SelectionResult) -> Draw:
    rows = selection.rows(False)  # in the order of the records: that of the hash
    names = ("drawn", "weight", "offset")
    return Draw(*(rows[name].to_numpy() for name in names))


def _line(
    policy: str, budget: str, draws: list[tuple[list[float], dict[str, Any]]]
) -> ComparisonLine:
    losses = np.array([one for one, _ in draws])
    reports = [report for _, report in draws]

    def median(values: list[float]) -> float:
        return float(np.median(values))

    return ComparisonLine(
        policy=policy,
        budget=budget,
        rows=reports[0]["budget"],
        sketch_loss=median([*losses[:, 0]]),
        wider_loss=median([*losses[:, 1]]),
        wider_range=(float(losses[:, 1].min()), float(losses[:, 1].max())),
        effective_sample_size=median([r["effective_sample_size"] for r in reports]),
        max_weight=median([r["max_weight"] for r in reports]),
        top_loss_kept=median([r["top_loss_drawn"] / max(r["top_loss_rows"], 1) for r in reports]),
        least_segment=median([_least_segment(r) for r in reports]),
    )


def _least_segment(report: dict[str, Any]) -> float:
    ratios = [line["share_drawn"] / line["share"] for line in report["segments"] if line["share"]]
    return min(ratios, default=1.0)
