"""Twins of the loop in memory: arms that choose otherwise, each a closed loop of its own.

An arm's own model answers for the week, and these answers, never made anew by a later model, are
the records by which the arm chooses its next rows. What it fits begins with its own predecessor and
serves if it passes the pipeline's gate, anchor and all, on the same held-out flights. Draw, fit and
gate are the product's; only the tables are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from math import floor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from torch import nn

from demo.stream import between, labelled, records, rows_of
from schemas.pipeline import Pipeline
from schemas.record_step import RecordStep, step_in
from spark_jobs.refresh.plan import cut_of, refresh_seed, window_start
from spark_jobs.selection.draw import selection_of
from spark_jobs.selection.policies import configured, policy_for
from spark_jobs.selection.policy import Policy
from spark_jobs.selection.record_step import ServedVersion
from trainer.data.reader import HeldOut
from trainer.fitting.trials import fit_rows
from trainer.models.export import Loaded
from trainer.promotion.gate import decide
from trainer.promotion.judge import judge, measure

WEEK = timedelta(days=7)
_ROUNDING = 1e-9  # 0.1 x 30 is three rows, and a little more or less


@dataclass(frozen=True)
class Arm:
    """A way to choose. policy: None takes every new candidate once, with no draw. amount: backward
    passes for each forward pass; of all it is what it comes to."""

    name: str
    policy: Policy | None
    amount: float


def arms(pipeline: Pipeline, amount: float) -> dict[str, Arm]:
    """The pipeline's own policy, uniform at the same backward passes, and all rows once."""
    own, uniform = configured(pipeline), policy_for("uniform", pipeline.task)
    found = (Arm(own.name, own, amount), Arm("uniform", uniform, amount), Arm("all", None, 1.0))
    return {arm.name: arm for arm in found}


@dataclass(frozen=True)
class Week:
    """One refresh of an arm, and how the model that served afterwards answered the week after."""

    ds: date
    forward_passes: int
    backward_passes: int
    promoted: bool
    flights: int  # of the week after, those with a label
    loss: float  # their mean log loss


@dataclass
class _Loop:
    """An arm under way: who serves, who served on which day, and what was answered."""

    pipeline: Pipeline
    arm: Arm
    serving: Loaded
    served: list[tuple[date, Loaded]]
    answered: list[pa.Table] = field(default_factory=list)
    taken: list[pa.Array] = field(default_factory=list)  # instances, where each is taken once
    carried: float = 0.0

    def answer(self, new: pa.Table) -> None:
        """The serving model answers for new flights; what it leaves stays as it is."""
        found = records(self.pipeline, self.serving.model(), new)
        version = pa.array([str(len(self.served))] * len(found))
        self.answered.append(found.append_column("model_version", version))

    def rows(self, forward_passes: int) -> int:
        """Whole rows for the week's forward passes; what is left below one is carried on."""
        a_row = self.pipeline.training.passes
        paid = self.arm.amount * forward_passes + self.carried
        rows = floor(paid / a_row + _ROUNDING)
        self.carried = max(0.0, paid - rows * a_row)
        return rows

    def anchor(self, ds: date) -> Loaded | None:
        """Who served when the gate's anchor days had still to come; None where that is nobody."""
        days = self.pipeline.gate.anchor_days
        old = [] if days is None else [m for d, m in self.served if d <= ds - timedelta(days=days)]
        return old[-1] if old and old[-1] is not self.serving else None


def closed_loop(
    pipeline: Pipeline, flights: pa.Table, arm: Arm, first: Loaded, days: Sequence[date], seed: int
) -> list[Week]:
    """One arm from the first model on: a refresh on each of `days`, a week apart.

    flights: as `demo.stream.stream` gives them. The first model answers for the week up to the
    first of the days, and nothing of the time before is drawn from; held-out flights of that time
    judge, as in the product. seed: added to the seeds of the pipeline file; 0 draws and shuffles as
    the product does.
    """
    selection, training = pipeline.selection, pipeline.training
    seeded = pipeline.model_copy(
        update={
            "selection": selection.model_copy(update={"seed": selection.seed + seed}),
            "training": training.model_copy(update={"seed": training.seed + seed}),
        }
    )
    loop = _Loop(seeded, arm, first, [(days[0] - WEEK, first)])
    return [_refresh(loop, flights, ds) for ds in days]


def _refresh(loop: _Loop, flights: pa.Table, ds: date) -> Week:
    """Answer for the week, choose, fit, judge; then the week after."""
    pipeline = loop.pipeline
    new = between(flights, ds - WEEK + timedelta(days=1), ds)
    loop.answer(new)
    window = between(flights, window_start(pipeline, ds), ds)
    window = window.filter(pc.less_equal(window["known_at"], pa.scalar(cut_of(ds))))
    chosen, step = _chosen(loop, window, new, ds)
    card, parent = loop.serving.card, loop.serving
    model, history = fit_rows(pipeline, card, rows_of(pipeline, chosen), parent, step)
    promoted = _passes(loop, model, window.filter(window["held_out"]), ds)
    if promoted:
        weights = {name: value.clone() for name, value in model.state_dict().items()}
        loop.serving = Loaded(card, weights, optimizer=history.optimizer)
        loop.served.append((ds, loop.serving))
    after = rows_of(pipeline, labelled(between(flights, ds + timedelta(days=1), ds + WEEK)))
    loss = measure(loop.serving.model(), card, after, pipeline.training)["loss"]
    return Week(ds, new.num_rows, history.rows, promoted, len(after), loss)


def _chosen(
    loop: _Loop, window: pa.Table, new: pa.Table, ds: date
) -> tuple[pa.Table, RecordStep | None]:
    """The rows to fit, with weights and offsets where they were drawn; and the record step, where
    the policy is one that leaves it."""
    pipeline, rows, policy = loop.pipeline, loop.rows(new.num_rows), loop.arm.policy
    candidates = window.filter(pc.invert(window["held_out"]))
    answered = pa.concat_tables(loop.answered)
    if policy is None:
        return _new_candidates(loop, candidates, answered), None
    here = pc.is_in(answered["instance_id"], candidates["instance_id"].combine_chunks())
    seed, task, training = refresh_seed(pipeline, ds), pipeline.task, pipeline.training
    selection = selection_of(
        answered.filter(here),
        policy=policy,
        budget=f"{rows} rows",
        seed=seed,
        task=task,
        # Whatever it answered came after its fit.
        served=ServedVersion(str(len(loop.served)), 0) if training.record_step else None,
    )
    drawn = selection.rows(True)
    place = pc.index_in(drawn["instance_id"], candidates["instance_id"].combine_chunks())
    chosen = candidates.take(place)
    for name in ("weight", "offset"):
        chosen = chosen.append_column(name, drawn[name].cast("float"))
    return chosen, step_in(selection.report, str(ds))


def _new_candidates(loop: _Loop, candidates: pa.Table, answered: pa.Table) -> pa.Table:
    """The candidates with an answer that no refresh before had: the labels of a last evening come
    after its cut."""
    ids = candidates["instance_id"]
    there = pc.is_in(ids, value_set=answered["instance_id"].combine_chunks())
    taken = pa.concat_arrays([pa.array([], ids.type), *loop.taken])
    fresh = candidates.filter(pc.and_(there, pc.invert(pc.is_in(ids, value_set=taken))))
    loop.taken.append(fresh["instance_id"].combine_chunks())
    return fresh


def _passes(loop: _Loop, model: nn.Module, kept: pa.Table, ds: date) -> bool:
    """Whether the gate lets the model serve; `kept` are the held-out flights of the window."""
    pipeline, anchor = loop.pipeline, loop.anchor(ds)
    levels = np.array(kept["segments"].to_pylist(), np.str_).reshape(len(kept), -1)
    segments = {name: levels[:, at] for at, name in enumerate(pipeline.instances.segments)}
    held_out = HeldOut(rows_of(pipeline, kept), np.zeros(len(kept), bool), segments)
    other = None if anchor is None else anchor.model()
    sets = judge(pipeline, model, loop.serving.model(), held_out, other)
    return decide(sets, pipeline.gate, "" if anchor is None else "the anchor").passed
