"""Selection from start to end: passes over blocks, with small sums on the driver between them."""

import hashlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from schemas.errors import DataQualityError, EmptyDrawError, NoDataError
from schemas.sections.budget import Budget
from spark_jobs.selection import calibration, kernels, mixture, record_step, solver, strata
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.blocks import Blocks
from spark_jobs.selection.designs import DESIGNS
from spark_jobs.selection.designs.design import Block
from spark_jobs.selection.kernels import Plan
from spark_jobs.selection.policy import Policy
from spark_jobs.selection.probabilities import (
    Scale,
    Sizing,
    add_largest,
    binned_totals,
    cap_totals,
    first_factor,
    next_factor,
    scaled,
    size_totals,
)
from spark_jobs.selection.records import Contents, Records, Vocabulary, require_one_layout
from spark_jobs.selection.report import add_cards, card, report
from spark_jobs.selection.scores import NO_STATS, SCORES, Stats
from spark_jobs.selection.tree import add_sums

T = TypeVar("T")

# Counts up when the same candidates, policy, budget and seed would give another sample.
ENGINE = 3


@dataclass(frozen=True)
class SelectionResult:
    """What a selection leaves: its rows, the report card and the digest of the sample.

    rows(drawn_only): every candidate, or the drawn ones, with what was decided; a pyarrow.Table or
    a DataFrame, as the blocks give. stored(store): what `store` says of every candidate, in tables
    where they lie. plan: what all blocks shared in the end.
    """

    rows: Callable[[bool], Any]
    stored: Callable[[Callable[[pa.Table], Any]], list[Any]]
    report: dict[str, Any]
    digest: str
    plan: Plan


def select(
    blocks: Blocks,
    policy: Policy,
    budget: Budget,
    seed: int,
    task: str,
    served: record_step.ServedVersion | None = None,
) -> SelectionResult:
    """Choose `budget` of the candidates. Raises EmptyDrawError where there are none, and
    DataQualityError where all of them weigh 0.

    The passes: survey, with the means of the scores; sizes, and caps where probabilities reach 1;
    what the design must know; with calibration the drawn rows, and Newton steps over those; the
    report card. Writing the rows is one more. served: the model for which a calibrated policy's
    report has the record step, where its records are enough for one.
    """
    if blocks.count == 0:
        raise EmptyDrawError(
            "no candidates: no record in the window has a matured label. Remedy: score and label"
            " the days of the window first, or widen selection.window_days."
        )
    k = budget.rows(blocks.count)
    if k == blocks.count:  # nothing to leave out: no score matters
        policy = replace(policy, score="one", mixture={}, strata=None)
    names, layout, newest, weighted = _contents(blocks.contents)
    sizing, sums = _sizing(blocks, policy, task, names, weighted=weighted)
    whole = np.array([blocks.count]), np.array([k])
    scale = Scale(blocks.count, k, policy.floor, *whole, factor=np.zeros(1))
    plan = Plan(
        policy,
        seed,
        names,
        sizing,
        scale,
        stands_for=_stands_for(sums, blocks.count),
        mean_loss=_mean_loss(sums, sizing.stats),
        weighted=weighted,
    )
    plan = _scaled(blocks, plan)
    design = DESIGNS[policy.design]
    plan = replace(
        plan, states=design.prepare(DesignPasses(blocks, plan), plan.scale.budgets, seed)
    )
    calibrated: dict[str, Any] = {}
    if policy.calibrated:
        moments = {**sums, "count": np.float64(blocks.count)}
        if layout[1]:
            plan = replace(plan, served=served, sketch_width=layout[1])
        plan, calibrated = _calibrated(blocks, plan, moments, layout)
    return _finished(blocks, plan, newest, calibrated)


def _contents(shards: list[Contents]) -> Contents:
    """What is in the records of all shards."""
    names = shards[0].vocabulary
    for one in shards[1:]:
        names = names.joined(one.vocabulary)
    layout = require_one_layout(one.layout for one in shards)
    newest = max(one.newest for one in shards)
    return Contents(names, layout, newest, any(one.weighted for one in shards))


@dataclass(frozen=True)
class DesignPasses:
    """Implements `designs.design.Passes`: a design's functions run on blocks with probabilities."""

    blocks: Blocks
    plan: Plan

    def each(self, kernel: Callable[[Block], T]) -> dict[int, T]:
        """One small result a block, by index."""
        return self.blocks.each(partial(_on_block, kernel=kernel, plan=self.plan))

    def total(self, kernel: Callable[[Block], dict[str, Array]]) -> dict[str, Array]:
        """The results of all blocks, added up."""
        return self.blocks.total(partial(_on_block, kernel=kernel, plan=self.plan), add_sums)


def _on_block(index: int, records: Records, *, kernel: Callable[[Block], T], plan: Plan) -> T:
    return kernel(kernels.prepare(index, records, plan).block)


def _stats(sums: dict[str, Array]) -> Stats:
    matured = np.maximum(sums["matured"], 1)
    return Stats(
        candidates=sums["count"],
        mean_loss=sums["loss"] / matured,
        positive=sums["positive"] / matured,
        losses=sums["losses"],
        own_losses=sums.get("own_losses", sums["losses"]),
    )


def _stands_for(sums: dict[str, Array], count: int) -> float:
    """The mean over all candidates of what they stand for."""
    mean = float(sums["stands_for"]) / count
    if mean == 0.0:
        raise DataQualityError(
            f"row_weight = 0 of all {count} candidates: nothing is left to learn from. Remedy:"
            " correct the column that labels.weight names, or leave that setting out."
        )
    return mean


def _mean_loss(sums: dict[str, Array], stats: Stats) -> float:
    """Of the matured records, each counting what it stands for where rows have their weights."""
    if "known" in sums:
        return float(sums["known_loss"] / sums["known"]) if sums["known"] > 0.0 else 0.0
    return float(stats.mean_loss @ stats.candidates / stats.candidates.sum())


def _sizing(
    blocks: Blocks, policy: Policy, task: str, names: Vocabulary, *, weighted: bool
) -> tuple[Sizing, dict[str, Array]]:
    """Scores with their means by model version, and the sums that those are from.

    Losses and residuals are those of the weighted rows, but with an offset: the weight that a row
    would have with its other label nobody knows.
    """
    equal = np.ones((len(policy.scores), len(names.versions)))
    blank = Sizing(task, policy, NO_STATS, equal, weighted and policy.weighting != "offset")
    late = any(SCORES[name].needs_stats for name in policy.scores)
    survey = partial(
        kernels.survey,
        blank=blank,
        names=names,
        early=not (blank.constant or late),
        weighted=weighted,
    )
    sums = blocks.total(survey, add_sums)
    sizing = replace(blank, stats=_stats(sums))
    if late:
        kernel = partial(kernels.score_sums, sizing=sizing, names=names)
        sums = sums | blocks.total(kernel, add_sums)
    if "scores" in sums:
        sizing = replace(sizing, means=sums["scores"] / np.maximum(sums["count"], 1))
    return sizing, sums


def _scaled(blocks: Blocks, plan: Plan) -> Plan:
    """The plan with c such that the sum of min(1, c s) is k, in each stratum."""
    flat = _solved(blocks, replace(plan, policy=replace(plan.policy, strata=None)))
    wanted = plan.policy.strata
    if wanted is None:
        return flat
    place = wanted.place
    levels = plan.vocabulary.levels
    if place >= len(levels):
        raise NoDataError(
            f"selection.strata: no record has segment key {place}. Remedy: score the days of the"
            " window with the present [instances].segments, or remove selection.strata."
        )
    sums = blocks.total(partial(_stratum_sums, plan=flat, place=place), add_sums)
    budgets = strata.allocate(
        sums["probability"], sums["rows"], plan.scale.budget, wanted, levels[place]
    )
    scale = replace(plan.scale, rows=sums["rows"], budgets=budgets, factor=np.zeros(budgets.size))
    return _solved(blocks, replace(plan, scale=scale, flat=flat.scale))


def _stratum_sums(index: int, records: Records, *, plan: Plan, place: int) -> dict[str, Array]:
    """By stratum, (H,): candidates, and the sum of their probabilities without strata."""
    size, stratum = kernels.sizes(records, plan)
    pi = scaled(size, stratum, plan.scale)
    levels = len(plan.vocabulary.levels[place])
    code = records.coded(plan.vocabulary).segments[:, place]
    return {
        "rows": np.bincount(code, minlength=levels),
        "probability": np.bincount(code, weights=pi, minlength=levels),
    }


def _solved(blocks: Blocks, plan: Plan) -> Plan:
    """The plan with c of each stratum, by repeated truncation of the sizes at 1 / c."""
    if plan.sizing.constant:  # sizes of 1, so pi = k / N in each stratum
        scale = plan.scale
        return replace(plan, scale=scale.with_factor(scale.budgets / np.maximum(scale.rows, 1)))

    def totals(kernel: Any) -> dict[str, Array]:
        return blocks.total(partial(_on_sizes, kernel=kernel, plan=plan), add_largest)

    sums = totals(size_totals)
    scale = plan.scale.with_factor(plan.scale.budgets / np.maximum(sums["sum"], 1e-300))
    if (scale.factor * sums["largest"] <= 1.0).all():
        return replace(plan, scale=scale)
    plan = replace(plan, scale=scale)
    plan = replace(plan, scale=scale.with_factor(first_factor(scale, totals(binned_totals))))
    while True:
        factor = next_factor(plan.scale, totals(cap_totals))
        if (factor <= plan.scale.factor * (1 + 1e-15)).all():
            return plan
        plan = replace(plan, scale=plan.scale.with_factor(factor))


def _on_sizes(
    index: int,
    records: Records,
    *,
    kernel: Callable[[Array, Array, Scale], dict[str, Array]],
    plan: Plan,
) -> dict[str, Array]:
    return kernel(*kernels.sizes(records, plan), plan.scale)


def _calibrated(
    blocks: Blocks, plan: Plan, moments: dict[str, Any], layout: tuple[int, int]
) -> tuple[Plan, dict[str, Any]]:
    """The plan with coefficients, how far each total is met, and the record step."""
    rows, levels = plan.scale.budget, plan.vocabulary.levels
    columns = calibration.auxiliary(plan.task, moments, levels, layout, rows)
    plan = replace(plan, columns=columns)
    bounds, nothing = plan.policy.bounds, np.zeros(columns.columns)
    with closing(blocks.hold(partial(kernels.drawn_rows, plan=plan), ("sketch",))) as held:
        first = held.total(partial(_goal_and_sums, q=nothing, bounds=bounds), add_sums)

        def evaluate(coefficients: Array) -> dict[str, Array]:
            return held.total(partial(calibration.sums, q=coefficients, bounds=bounds), add_sums)

        solution = solver.solve(evaluate, first, plan.scale.budget, plan.policy)
    found = {"calibration": solver.achieved(solution, columns)}
    step = None if plan.served is None else record_step.step_of(first, plan.served)
    return (
        replace(plan, coefficients=solution.coefficients),
        found if step is None else found | step.told(),
    )


def _goal_and_sums(
    drawn: calibration.DrawnRows, *, q: Array, bounds: tuple[float, float]
) -> dict[str, Array]:
    return drawn.goal | calibration.sums(drawn, q, bounds)


def _finished(
    blocks: Blocks, plan: Plan, newest: int, calibrated: dict[str, Any]
) -> SelectionResult:
    sketch = ("sketch",) if plan.columns is not None else ()
    kernel = partial(card, plan=plan, newest=newest)
    samples, sums = blocks.each_and_total(kernel, add_cards, sketch)
    before = accumulate((sample.drawn for sample in samples.values()), initial=0)
    positions = dict(zip(samples, before, strict=False))
    reported = {**report(sums, plan), **calibrated}
    _require_drawn(plan, reported["drawn"])
    if plan.policy.score == "mixture":
        used = dict(plan.policy.mixture)
        reported["mixture"] = {"used": used, "next": mixture.updated(used, sums["mixture"])}
    decided = partial(kernels.result_rows, plan=plan, positions=positions)
    parts = ("kept", *sketch)
    return SelectionResult(
        rows=lambda drawn_only: blocks.rows(partial(decided, drawn_only=drawn_only), parts),
        stored=lambda store: blocks.stored(partial(decided, drawn_only=False), store, parts),
        report=reported,
        digest=hashlib.sha256(b"".join(sample.digest for sample in samples.values())).hexdigest(),
        plan=plan,
    )


def _require_drawn(plan: Plan, drawn: int) -> None:
    if drawn == 0:
        raise EmptyDrawError(
            f"budget = {plan.scale.budget} rows of {plan.scale.count}: the {plan.policy.design}"
            " draw is empty. Remedy: raise the budget, or choose a design of fixed size."
        )
    if DESIGNS[plan.policy.design].fixed_size and drawn != plan.scale.budget:
        raise ArithmeticError(f"{drawn} rows drawn instead of {plan.scale.budget}")
