"""What is computed from one block: pure functions of the block and of what all blocks share."""

import hashlib
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from spark_jobs.selection import calibration, histogram, record_step, tasks
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.designs import DESIGNS
from spark_jobs.selection.designs.design import Block, States
from spark_jobs.selection.policy import Policy
from spark_jobs.selection.probabilities import Probabilities, Scale, Sizing, probabilities
from spark_jobs.selection.records import Records, Vocabulary
from spark_jobs.selection.weights import WEIGHTINGS


@dataclass(frozen=True)
class Plan:
    """What all blocks share; filled in step by step by `engine.select`."""

    policy: Policy
    seed: int
    vocabulary: Vocabulary
    sizing: Sizing
    scale: Scale
    flat: Scale | None = None  # the scale without strata, where there are strata
    states: States = field(default_factory=States)
    columns: calibration.Auxiliary | None = None
    served: record_step.ServedVersion | None = None  # where its last layer is to be moved
    sketch_width: int = 0  # of the widest sketch
    coefficients: Array | None = None
    stands_for: float = 1.0  # the mean of row weight / propensity over all candidates
    mean_loss: float = 0.0  # of all matured records, each counting what it stands for
    weighted: bool = False  # whether a row weighs anything but 1

    @property
    def task(self) -> str:
        """binary, multiclass or regression."""
        return self.sizing.task

    def stratum(self, records: Records) -> Array:
        """The stratum of each record, int64, shape (n,)."""
        if self.policy.strata is None:
            return np.zeros(records.size, np.int64)
        return records.segments[:, self.policy.strata.place].astype(np.int64)

    @property
    def uneven(self) -> bool:
        """Whether a candidate stands for more or fewer than another."""
        return self.weighted or self.stands_for != 1.0  # a mean of 1 / propensity is that of ones


def survey(
    index: int, records: Records, *, blank: Sizing, names: Vocabulary, early: bool, weighted: bool
) -> dict[str, Array]:
    """Sums before anything is decided, by model version; losses are of matured records.

    early: whether the scores, which then need no such sums, are added up along with them. weighted:
    whether a row weighs anything but 1.
    """
    records = records.coded(names)
    scores = score_sums(index, records, sizing=blank, names=names) if early else {}
    groups = len(names.versions)
    known = records.where(records.matured) if not records.matured.all() else records
    loss = own = tasks.loss(blank.task, known.prediction, known.label)
    if blank.weighted:
        scores["own_losses"] = histogram.counts(own, known.version, groups)
        loss = known.row_weight * own
    if weighted:
        share = known.row_weight / known.propensity
        scores |= {"known": share.sum(), "known_loss": (share * own).sum()}
    flat = records.prediction.ndim == 1
    return {
        **scores,
        "count": np.bincount(records.version, minlength=groups),
        "stands_for": (records.row_weight / records.propensity).sum(),
        "matured": np.bincount(known.version, minlength=groups),
        "loss": np.bincount(known.version, weights=loss, minlength=groups),
        "positive": np.bincount(known.version, weights=known.label == 1.0, minlength=groups),
        "losses": histogram.counts(loss, known.version, groups),
        "prediction": np.asarray(records.prediction.sum() if flat else 0.0),
        "prediction_square": np.asarray((records.prediction**2).sum() if flat else 0.0),
    }


def score_sums(
    index: int, records: Records, *, sizing: Sizing, names: Vocabulary
) -> dict[str, Array]:
    """Sum of each score by model version, shape (J, G)."""
    records = records.coded(names)
    groups = len(names.versions)
    scores = sizing.scores(records, records.label)
    sums = [np.bincount(records.version, one, minlength=groups) for one in scores]
    return {"scores": np.stack(sums)}


def sizes(records: Records, plan: Plan) -> tuple[Array, Array]:
    """Size and stratum of each record of a block."""
    records = records.coded(plan.vocabulary)
    scores = plan.sizing.scores(records, records.label)
    return plan.sizing.size(records, scores), plan.stratum(records)


class Decision(NamedTuple):
    """One block on its way: records with the plan's codes, probabilities, losses, their block."""

    records: Records
    pi: Probabilities
    loss: Array
    block: Block


def prepare(index: int, records: Records, plan: Plan) -> Decision:
    """The block as a design sees it."""
    records = records.coded(plan.vocabulary)
    stratum = plan.stratum(records)
    pi = probabilities(records, stratum, plan.sizing, plan.scale, plan.flat)
    if DESIGNS[plan.policy.design].nominal:
        equal = np.full(records.size, plan.scale.mean)
        pi = pi._replace(actual=equal, negative=equal, positive=equal)
    loss = tasks.loss(plan.task, records.prediction, records.label)
    block = Block(
        number=index,
        seed=plan.seed,
        hash=records.hash,
        probability=pi.actual,
        size=pi.size,
        stratum=stratum,
        loss=loss,
        label=records.label,
        residual=tasks.residual(plan.task, records.prediction, records.label),
        segments=records.segments,
        levels=tuple(len(names) for names in plan.vocabulary.levels),
        budgets=plan.scale.budgets,
    )
    if plan.weighted:
        block = block.weighed(records.row_weight / plan.stands_for)
    return Decision(records, pi, loss, block)


class Choice(NamedTuple):
    """One block, decided."""

    records: Records
    pi: Probabilities
    loss: Array
    drawn: Array
    weight: Array  # of every row as if drawn; final where the plan has coefficients
    offset: Array
    stands_for: Array  # candidates, of mean 1: the row's own weight over the chance that it came


def choose(index: int, records: Records, plan: Plan) -> Choice:
    """Draw the block's rows and give them their weights."""
    records, pi, loss, block = prepare(index, records, plan)
    drawn = DESIGNS[plan.policy.design].draw(block, plan.states.of(index))
    weight, offset = WEIGHTINGS[plan.policy.weighting](pi, plan.scale.mean)
    stands_for = np.broadcast_to(1.0, records.size)
    if plan.uneven:
        stands_for = records.row_weight / records.propensity / plan.stands_for
        weight = weight * stands_for
    if plan.columns is not None and plan.coefficients is not None:
        weight, known = weight.copy(), drawn & records.matured
        rows = calibration.factors(records.where(known), offset[known], plan.columns)
        weight[known] *= calibration.multipliers(rows, plan.coefficients, plan.policy.bounds)
    if plan.policy.unmatured_weight != 1.0:
        weight = np.where(records.matured, weight, plan.policy.unmatured_weight * weight)
    return Choice(records, pi, loss, drawn, weight, offset, stands_for)


def drawn_rows(index: int, records: Records, *, plan: Plan) -> calibration.DrawnRows:
    """The drawn rows as calibration needs them, and what they are to reproduce; with it what the
    record step is made of, as no other pass reads sketches of all rows.

    Both are of matured records: what has no label yet keeps its weight.
    """
    assert plan.columns is not None
    choice = choose(index, records, plan)
    # What the drawn rows stand for before calibration: with 1/pi all N alike, with an offset the
    # population that it tilts.
    share = choice.pi.actual * choice.weight / plan.scale.budget
    rows = calibration.factors(choice.records, choice.offset, plan.columns)
    goal = calibration.targets(rows, share * choice.records.matured, plan.columns)
    if plan.served is not None:
        goal |= record_step.sums(choice.records, plan.served, plan.task, plan.sketch_width)
    known = choice.drawn & choice.records.matured
    return calibration.DrawnRows(rows.where(known), choice.weight[known], goal)


def result_rows(
    index: int, records: Records, *, plan: Plan, positions: dict[int, int], drawn_only: bool
) -> pa.Table:
    """Candidates of the block, or the drawn ones, with what was decided.

    positions: how many rows are drawn in the blocks before each.
    """
    choice = choose(index, records, plan)
    place = positions[index] + np.cumsum(choice.drawn) - 1
    rows = choice.drawn if drawn_only else np.ones(choice.drawn.size, bool)
    offset_used = plan.policy.weighting == "offset"
    absent = pa.nulls(int(rows.sum()), pa.float64())
    versions = pa.DictionaryArray.from_arrays(
        choice.records.version[rows], pa.array(plan.vocabulary.versions, pa.string())
    )
    kept = choice.records.kept
    assert kept is not None
    return pa.table(
        {
            **{name: kept[name].filter(pa.array(rows)) for name in kept.column_names},
            "model_version": versions.cast(pa.string()),
            "label": choice.records.label[rows],
            "loss": choice.loss[rows],
            "score": choice.pi.score[rows],
            "probability": choice.pi.actual[rows],
            "probability_negative": choice.pi.negative[rows] if offset_used else absent,
            "probability_positive": choice.pi.positive[rows] if offset_used else absent,
            "drawn": choice.drawn[rows],
            "weight": np.where(choice.drawn, choice.weight, 0.0)[rows],
            "offset": choice.offset[rows],
            "position": np.where(choice.drawn, place, -1).astype(np.int64)[rows],
            "row_weight": choice.records.row_weight[rows] if plan.weighted else absent,
        }
    )


def digest(choice: Choice) -> bytes:
    """SHA-256 over the drawn rows in order: hash of the id, probability, weight and offset."""
    state = hashlib.sha256()
    state.update(choice.records.hash[choice.drawn].astype("<u8").tobytes())
    # float32 is what the trainer reads; the last bits of float64 may differ between processors
    for values in (choice.pi.actual, choice.weight, choice.offset):
        state.update(values[choice.drawn].astype("<f4").tobytes())
    return state.digest()
