"""What is computed from one block: pure functions of the block and of what all blocks share."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from spark_jobs.selection import calibration
from spark_jobs.selection import records as rec
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.designs import DESIGNS, Start, UnitTotals, unit_totals
from spark_jobs.selection.policies import Policy
from spark_jobs.selection.probabilities import (
    CapTotals,
    Probabilities,
    Scale,
    cap_totals,
    probabilities,
)
from spark_jobs.selection.records import Records
from spark_jobs.selection.scores import SCORES
from spark_jobs.selection.weights import WEIGHTINGS


@dataclass(frozen=True)
class Plan:
    """What all blocks share; filled in step by step by `engine.select`."""

    task: str
    policy: Policy
    seed: int
    scale: Scale
    starts: Mapping[int, Start] = field(default_factory=dict)
    columns: calibration.Auxiliary | None = None
    coefficients: Array | None = None
    positions: Mapping[int, int] = field(default_factory=dict)  # of each block's first drawn row

    def with_factor(self, factor: float) -> "Plan":
        """The plan with another c."""
        return replace(self, scale=replace(self.scale, factor=factor))


class Survey(NamedTuple):
    """Of one block: what must be known before probabilities can be."""

    score_max: float
    score_sum: float
    prediction_sum: float
    prediction_square: float
    levels: tuple[tuple[str, ...], ...]
    sketch_width: int
    outputs: int


def survey(index: int, records: Records, *, task: str, score: str) -> Survey:
    """One pass over the block before anything is decided."""
    size = SCORES[score](task, records.prediction, records.label)
    places = len(records.segments[0]) if records.segments else 0
    flat = records.prediction.ndim == 1
    return Survey(
        score_max=float(size.max()),
        score_sum=float(size.sum()),
        prediction_sum=float(records.prediction.sum()) if flat else 0.0,
        prediction_square=float((records.prediction**2).sum()) if flat else 0.0,
        levels=tuple(
            tuple(sorted({k[place] for k in records.segments})) for place in range(places)
        ),
        sketch_width=records.sketch.shape[1],
        outputs=1 if flat else records.prediction.shape[1],
    )


def _probabilities(records: Records, plan: Plan) -> Probabilities:
    both = plan.policy.weighting == "offset"
    return probabilities(records, plan.task, plan.policy.score, plan.scale, both)


def totals(index: int, records: Records, *, plan: Plan) -> tuple[CapTotals, UnitTotals]:
    """What tells whether the factor is right, and where each block starts if it is."""
    pi = _probabilities(records, plan)
    return cap_totals(pi.score, plan.scale), unit_totals(pi.actual)


class Choice(NamedTuple):
    """One block, decided."""

    pi: Probabilities
    loss: Array
    drawn: Array
    weight: Array  # before calibration, of every row as if drawn
    offset: Array


def choose(index: int, records: Records, plan: Plan) -> Choice:
    """Draw the block's rows and give them their weights before calibration."""
    pi = _probabilities(records, plan)
    loss = rec.loss(plan.task, records.prediction, records.label)
    draw = DESIGNS[plan.policy.design].draw
    drawn = draw(pi.actual, loss, plan.starts[index], plan.seed)
    weight, offset = WEIGHTINGS[plan.policy.weighting](pi, plan.scale.mean)
    return Choice(pi, loss, drawn, weight, offset)


class Drawn(NamedTuple):
    """Of one block: how many rows were drawn and, if calibrated, its calibration totals."""

    rows: int
    totals: calibration.Totals | None


def drawn_totals(index: int, records: Records, *, plan: Plan) -> Drawn:
    """Count the drawn rows and sum what calibration needs, with the weights as they are."""
    choice = choose(index, records, plan)
    count = int(choice.drawn.sum())
    if plan.columns is None:
        return Drawn(count, None)
    auxiliary = calibration.auxiliary_matrix(records, plan.task, choice.offset, plan.columns)
    weight = _final_weight(choice, auxiliary, plan)
    # With an offset the drawn rows stand for the tilted population, sum of pi a; else for all N.
    tilted = plan.policy.weighting == "offset"
    count_for = choice.pi.actual / plan.scale.budget if tilted else 1.0 / plan.scale.count
    share = np.broadcast_to(count_for, (records.size,))
    outputs = plan.columns.outputs
    return Drawn(count, calibration.block_totals(auxiliary, share, weight, choice.drawn, outputs))


def _final_weight(choice: Choice, auxiliary: Array, plan: Plan) -> Array:
    if plan.coefficients is None:
        return choice.weight
    return choice.weight * calibration.multipliers(auxiliary, plan.coefficients)


def decided(index: int, records: Records, plan: Plan) -> tuple[Choice, Array]:
    """The choice and the final weight of every row as if drawn, shape (n,)."""
    choice = choose(index, records, plan)
    if plan.columns is None:
        return choice, choice.weight
    auxiliary = calibration.auxiliary_matrix(records, plan.task, choice.offset, plan.columns)
    return choice, _final_weight(choice, auxiliary, plan)


def result_rows(index: int, records: Records, *, plan: Plan) -> pa.Table:
    """Every candidate of the block with what was decided; the columns of `RESULT`."""
    choice, weight = decided(index, records, plan)
    offset_used = plan.policy.weighting == "offset"
    absent = pa.nulls(records.size, pa.float64())
    position = plan.positions[index] + np.cumsum(choice.drawn) - 1
    decided_columns = {
        "loss": choice.loss,
        "score": choice.pi.score,
        "probability": choice.pi.actual,
        "probability_negative": choice.pi.negative if offset_used else absent,
        "probability_positive": choice.pi.positive if offset_used else absent,
        "drawn": choice.drawn,
        "weight": np.where(choice.drawn, weight, 0.0),
        "offset": choice.offset,
        "position": np.where(choice.drawn, position, -1).astype(np.int64),
    }
    keep = [name for name in KEPT if name in records.table.column_names]
    kept = {name: records.table[name] for name in keep}
    return pa.table({**kept, **decided_columns})


KEPT = ("instance_id", "event_time", "model_version", "label")


def digest(records: Records, choice: Choice, weight: Array) -> bytes:
    """SHA-256 over the drawn rows in order: id, probability, weight and offset."""
    state = hashlib.sha256()
    ids = records.ids.filter(pa.array(choice.drawn)).to_pylist()
    state.update("\n".join(map(str, ids)).encode())
    state.update(choice.pi.actual[choice.drawn].astype("<f8").tobytes())
    # float32 is what the trainer reads; the last bits of float64 may differ between processors
    state.update(weight[choice.drawn].astype("<f4").tobytes())
    state.update(choice.offset[choice.drawn].astype("<f4").tobytes())
    return state.digest()
