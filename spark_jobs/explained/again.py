"""The whole draw of a refresh again, for one of its candidates: what it came to, step by step.

A probability hangs on all candidates: on c, which makes the probabilities sum to the budget, on the
means of the scores, and the weight on totals of all. So all are drawn again, by the engine that
drew them, from the pinned versions: the records and labels of the window come into memory, 0.3 GB
of 90,000 candidates with sketches, which take some seconds (docs/explain.md).
"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc

from schemas.manifests import BOOTSTRAP
from schemas.sections.budget import parse_budget
from spark_jobs.candidates.arrow_narrow import kept_out, seen_from, times_asked
from spark_jobs.candidates.assemble import assemble
from spark_jobs.explained.pinned import GoneError, Pinned
from spark_jobs.selection.blocks import ArrowBlocks
from spark_jobs.selection.columns import column
from spark_jobs.selection.designs import DESIGNS
from spark_jobs.selection.engine import select
from spark_jobs.selection.kernels import Plan, choose
from spark_jobs.selection.policies import configured, on_records
from spark_jobs.selection.records import Records
from spark_jobs.selection.scores import SCORES


class Redrawn(NamedTuple):
    """A draw that was made again. row: of the candidate, as `selection_probabilities` has it.
    steps: how it came about."""

    digest: str
    row: dict[str, Any]
    steps: dict[str, Any]


def redraw(pinned: Pinned, instance_id: str) -> Redrawn:
    """Draw the refresh again; of one of its candidates. Raises GoneError where what it was made
    from is not whole any more, or holds no such candidate."""
    manifest, decided = pinned.manifest, pinned.decided
    if manifest.policy == BOOTSTRAP:
        raise GoneError("no record decided the first refresh: it draws every labelled instance")
    pipeline = pinned.pipeline
    records, in_sample = _candidates(pinned)
    policy = on_records(configured(pipeline, decided.mixture), in_sample)
    budget = parse_budget(decided.budget)
    blocks = ArrowBlocks(records)
    drawn = select(blocks, policy, budget, manifest.seed, pipeline.task)
    rows = drawn.rows(False)
    own = rows.filter(pc.equal(rows["instance_id"], instance_id)).to_pylist()
    if not own:
        raise GoneError("its pinned inputs hold no such candidate")
    steps = blocks.each(lambda index, part: _steps(index, part, drawn.plan, instance_id))
    return Redrawn(drawn.digest, own[0], next(one for one in steps.values() if one is not None))


def _candidates(pinned: Pinned) -> tuple[Records, int]:
    """The candidates, and how many of them have no record but in sample."""
    manifest, pipeline = pinned.manifest, pinned.pipeline
    instances = pinned.instances(pinned.days)
    records = pinned.records({day for day in pinned.days if day <= pinned.last_drawn})
    ids = column(records, "instance_id")
    asked = pc.is_in(ids, value_set=column(instances, "instance_id"))
    drawn_from = np.asarray(asked) & ~kept_out(ids, pipeline.holdout, pinned.aside)
    rows = pinned.narrow(records.filter(drawn_from), pinned.labels(pinned.days), instances)
    seen = seen_from(rows, pipeline.labels, manifest.inputs.cut)
    if pinned.propensities.num_rows:
        seen = times_asked(seen, pinned.propensities)
    provisional = pipeline.selection.provisional_label
    found, counts = assemble(seen, manifest.seed, provisional, pinned.decided.learnt_until)
    return found, counts.in_sample


def _steps(index: int, records: Records, plan: Plan, instance_id: str) -> dict[str, Any] | None:
    """From score to weight, of the instance where the block holds it.

    Steps are those of `selection.probabilities`: size = score / mean of the model version's scores,
    pi = (1 - floor) min(1, c size) + floor k / N, of its stratum where there are strata.
    """
    assert records.kept is not None
    place = pc.index(records.kept["instance_id"], instance_id).as_py()
    if place < 0:
        return None
    final = choose(index, records, plan)
    before = choose(index, records, replace(plan, coefficients=None))
    coded, policy, scale = final.records, plan.policy, plan.scale
    stratum = int(plan.stratum(coded)[place])
    size, version = float(final.pi.size[place]), int(coded.version[place])
    factor = float(scale.factor[stratum])
    weight, plain = float(final.weight[place]), float(before.weight[place])
    steps = {
        "score_name": policy.score,
        "formula": "; ".join(_formula(name) for name in policy.scores),
        "mean_score": _mean(plan, version),
        "size": size,
        "c": factor,
        "capped": factor * size >= 1.0,
        "floor": policy.floor,
        "floor_share": policy.floor * float(scale.budgets[stratum] / scale.rows[stratum]),
        "stratum": None if policy.strata is None else _level(plan, stratum),
        "stratum_budget": int(scale.budgets[stratum]),
        "stratum_candidates": int(scale.rows[stratum]),
        "design": policy.design,
        "probability_promised": DESIGNS[policy.design].exact,
        "weighting": policy.weighting,
        # Of a row that was not drawn: what it would have weighed, had it been.
        "weight_before_calibration": plain,
    }
    if coded.propensity[place] < 1.0:
        steps["propensity"] = float(coded.propensity[place])
    if plan.weighted:
        steps["row_weight"] = float(coded.row_weight[place])
    if plan.coefficients is not None and final.drawn[place]:
        steps["multiplier"] = weight / plain
    return steps


def _mean(plan: Plan, version: int) -> float | None:
    """The mean that the score is divided by; None of a mixture, which has several."""
    return float(plan.sizing.means[0, version]) if len(plan.policy.scores) == 1 else None


def _level(plan: Plan, stratum: int) -> str:
    assert plan.policy.strata is not None
    return plan.vocabulary.levels[plan.policy.strata.place][stratum]


def _formula(name: str) -> str:
    """What a score is, by the first sentence of its own words."""
    told = (SCORES[name].of.__doc__ or "").partition("\n")[0]
    return f"{name}: {told.rstrip('.')}"
