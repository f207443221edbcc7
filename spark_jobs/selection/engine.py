"""Selection from start to end: passes over blocks, with small sums on the driver between them."""

import hashlib
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import Any

from schemas.errors import NoDataError
from spark_jobs.selection import calibration, kernels
from spark_jobs.selection.blocks import Blocks
from spark_jobs.selection.designs import starts
from spark_jobs.selection.kernels import Plan, Survey
from spark_jobs.selection.policies import Policy
from spark_jobs.selection.probabilities import SMALLEST_SHARE, Scale, next_factor
from spark_jobs.selection.report import card, report


@dataclass(frozen=True)
class Selection:
    """A finished selection: every candidate, the report card and the digest of the sample."""

    rows: Any  # pyarrow.Table or DataFrame, as the blocks give
    report: dict[str, Any]
    digest: str


def budget_rows(count: int, share: float) -> int:
    """k for a share of N: at least one row."""
    return min(count, max(1, round(share * count)))


def select(blocks: Blocks, policy: Policy, budget: float, seed: int, task: str) -> Selection:
    """Choose round(budget N) of the candidates. Raises NoDataError where there are none."""
    if blocks.count == 0:
        raise NoDataError(
            "no candidates: no record in the window has a matured label. Remedy: score and label"
            " the days of the window first, or widen selection.window_days."
        )
    survey = partial(kernels.survey, task=task, score=policy.score)
    surveys = list(blocks.summarise(survey).values())
    plan = _solved(blocks, _first_plan(surveys, policy, budget, seed, task, blocks.count))
    if policy.calibrated:
        plan = replace(plan, columns=_auxiliary(surveys, blocks.count))
    drawn = blocks.summarise(partial(kernels.drawn_totals, plan=plan))
    before = accumulate((block.rows for block in drawn.values()), initial=0)
    plan = replace(plan, positions=dict(zip(drawn, before, strict=False)))
    if policy.calibrated:
        totals = [block.totals for block in drawn.values() if block.totals is not None]
        plan = replace(plan, coefficients=calibration.solve(totals, plan.scale.budget))
    cards = list(blocks.summarise(partial(card, plan=plan)).values())
    return Selection(
        rows=blocks.rows(partial(kernels.result_rows, plan=plan)),
        report=report(cards, plan),
        digest=hashlib.sha256(b"".join(one.digest for one in cards)).hexdigest(),
    )


def _first_plan(
    surveys: list[Survey], policy: Policy, budget: float, seed: int, task: str, count: int
) -> Plan:
    k = budget_rows(count, budget)
    largest = max(one.score_max for one in surveys)
    total = sum(one.score_sum for one in surveys)
    if largest == 0.0 or k == count:  # nothing to tell the rows apart, or nothing to leave out
        policy = replace(policy, score="one")
        largest, total = 1.0, float(count)
    scale = Scale(count, k, policy.floor, k / total, SMALLEST_SHARE * largest)
    return Plan(task, policy, seed, scale)


def _solved(blocks: Blocks, plan: Plan) -> Plan:
    """The plan with c such that the sum of min(1, c s) is k, and with every block's start."""
    while True:
        totals = blocks.summarise(partial(kernels.totals, plan=plan))
        factor = next_factor(plan.scale, [caps for caps, _ in totals.values()])
        if factor <= plan.scale.factor * (1 + 1e-15):
            break
        plan = plan.with_factor(factor)
    starting = starts([units for _, units in totals.values()], plan.scale.budget, plan.seed)
    return replace(plan, starts=dict(zip(totals, starting, strict=True)))


def _auxiliary(surveys: list[Survey], count: int) -> calibration.Auxiliary:
    center = sum(one.prediction_sum for one in surveys) / count
    square = sum(one.prediction_square for one in surveys) / count
    places = len(surveys[0].levels)
    levels = tuple(
        tuple(sorted({level for one in surveys for level in one.levels[place]}))
        for place in range(places)
    )
    return calibration.Auxiliary(
        center=center,
        spread=max(square - center**2, 1e-12) ** 0.5,
        levels=levels,
        sketch_width=max(one.sketch_width for one in surveys),
        outputs=surveys[0].outputs,
    )
