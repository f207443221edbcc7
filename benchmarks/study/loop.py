"""One arm's closed loop over a stream, in memory: answer, choose, fit, serve; then judge.

The arm's own model answers for a period, and these answers, never made anew by a later model, are
the records by which the arm chooses its next rows. Draw, network and fit are the product's; tables
and gate are left out, so that what differs between arms is what they choose and how they fit it.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from math import floor
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.study.arms import Arm
from benchmarks.study.fitting import fit_arm
from benchmarks.study.readings import Answers, judged
from benchmarks.study.stream import Stream
from demo.stream import rows_of
from schemas.bundle import ModelCard
from schemas.pipeline import Pipeline
from schemas.record_step import RecordStep
from spark_jobs.refresh.plan import cut_of, refresh_seed
from spark_jobs.selection.draw import selection_of
from spark_jobs.selection.from_arrow import from_arrow
from spark_jobs.selection.record_step import ServedVersion, step_of, sums
from trainer.data.reader import Rows
from trainer.fitting.fit import History
from trainer.fitting.trials import fit_rows
from trainer.models.export import Loaded
from trainer.models.model import model_card
from trainer.processes.threads import one_thread

_ROUNDING = 1e-9  # 0.1 x 30 is three rows, and a little more or less


class Settings(NamedTuple):
    """What is tuned for each arm."""

    batch_size: int
    learning_rate: float
    window_days: int


class Refresh(NamedTuple):
    """One refresh, and how the model that served afterwards answered the period after."""

    day: date
    answers: Answers
    forward_passes: int
    backward_passes: int
    record_bytes: int  # of the records among which was chosen
    feature_bytes: int  # of the rows that were fitted
    select_seconds: float  # of the processor: other work on the machine does not count
    fit_seconds: float


class Places(NamedTuple):
    """A stream in order of time, as arrays: rows, and where each period begins and ends."""

    table: pa.Table
    rows: Rows
    day: NDArray[np.int64]  # days since 1970
    known: NDArray[np.int64]  # microseconds since 1970; the greatest number where no label came
    segment: NDArray[np.int64]  # code of the first segment key

    def between(self, first: date, last: date) -> slice:
        """The rows of some days, both ends included."""
        ends = [(first - date(1970, 1, 1)).days, (last - date(1970, 1, 1)).days + 1]
        start, end = np.searchsorted(self.day, ends)
        return slice(int(start), int(end))


def places_of(stream: Stream) -> Places:
    """The stream sorted by day, then id."""
    table = stream.rows.sort_by([("event_date", "ascending"), ("instance_id", "ascending")])
    table = table.combine_chunks()
    known = table["known_at"].cast(pa.int64()).fill_null(np.iinfo(np.int64).max)
    filled = table.set_column(
        table.column_names.index("label"), "label", table["label"].cast("float").fill_null(np.nan)
    )
    day = table["event_date"].cast(pa.int32()).to_numpy().astype(np.int64)
    first = [keys[0] if keys else "" for keys in table["segments"].to_pylist()]
    _, segment = np.unique(np.array(first), return_inverse=True)
    return Places(table, rows_of(stream.pipeline, filled), day, known.to_numpy(), segment)


@dataclass
class _Loop:
    """An arm under way."""

    stream: Stream
    places: Places
    pipeline: Pipeline  # with the seeds and settings of this loop
    arm: Arm
    amount: float
    parent: Loaded  # of the next fit
    output: NDArray[np.float64]  # (n, outputs) answers, as they were given
    sketch: NDArray[np.float32]  # (n, 16)
    taken: NDArray[np.bool_]  # (n,) rows that were taken once
    answered_from: int = 0
    carried: float = 0.0  # backward passes left over, less than a row's
    model: nn.Module | None = None  # that serves; None: the parent
    means: list[torch.Tensor] = field(default_factory=list)  # of its weights

    def answer(self, period: slice) -> None:
        """The serving model answers for new rows; what it leaves stays as it is."""
        model = self.model or self.parent.model()
        self.output[period], self.sketch[period] = answers(model, self.places.rows, period)

    def rows(self, forward_passes: int) -> int:
        """Whole rows for the period's forward passes; what is left below one is carried on."""
        a_row = self.pipeline.training.passes
        paid = self.amount * forward_passes + self.carried
        rows = floor(paid / a_row + _ROUNDING)
        self.carried = max(0.0, paid - rows * a_row)
        return rows


@one_thread()
def answers(
    model: nn.Module, rows: Rows, period: slice
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Outputs (n, outputs) and sketches (n, 16) of the rows."""
    with torch.inference_mode():
        output, sketch = model(*(torch.from_numpy(part[period]) for part in rows.inputs))
    return output.double().numpy(), sketch.numpy()


def first_model(stream: Stream, places: Places, days: Sequence[date], seed: int) -> Loaded:
    """The model that serves first: fitted to all labelled rows of the days before, as the stream's
    own pipeline says."""
    last = days[0] - timedelta(days=stream.step)
    here = places.between(last - timedelta(days=stream.learnt_days - 1), last)
    labelled = np.arange(here.start, here.stop)[~np.isnan(places.rows.label[here])]
    training = stream.pipeline.training
    begun = stream.pipeline.model_copy(
        update={"training": training.model_copy(update={"seed": training.seed + seed})}
    )
    card = model_card(begun, "none", _outputs(begun))
    model, history = fit_rows(begun, card, places.rows.map(lambda column: column[labelled]), None)
    return loaded(card, model, history)


def loaded(card: ModelCard, model: nn.Module, history: History) -> Loaded:
    """The model as a parent of the next."""
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    return Loaded(card, weights, optimizer=history.optimizer)


def _outputs(pipeline: Pipeline) -> int:
    return pipeline.labels.classes or 1


def closed_loop(
    stream: Stream,
    places: Places,
    arm: Arm,
    amount: float,
    settings: Settings,
    first: Loaded,
    days: Sequence[date],
    seed: int,
) -> Iterator[Refresh]:
    """A refresh on each of `days`. amount: backward passes for each forward pass."""
    rows = len(places.rows)
    outputs = _outputs(stream.pipeline)
    loop = _Loop(
        stream,
        places,
        _configured(stream.pipeline, settings, arm, seed),
        arm,
        amount,
        first,
        np.full((rows, outputs), np.nan),
        np.zeros((rows, 16), np.float32),
        np.zeros(rows, bool),
    )
    step = timedelta(days=stream.step)
    loop.answered_from = places.between(days[0] - step + timedelta(days=1), days[0]).start
    for ds in days:
        yield _refresh(loop, ds)


def _configured(pipeline: Pipeline, settings: Settings, arm: Arm, seed: int) -> Pipeline:
    """The pipeline with what was tuned; seed 0 draws and shuffles as the product does."""
    selection, training = pipeline.selection, pipeline.training
    fitted = {
        "epochs": arm.epochs,
        "batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "carry_optimizer": not arm.fresh,
        "record_step": arm.record_step,
        "seed": training.seed + seed,
    }
    drawn = {"seed": selection.seed + seed, "window_days": settings.window_days}
    return pipeline.model_copy(
        update={
            "selection": selection.model_copy(update=drawn),
            "training": training.model_copy(update=fitted),
        }
    )


def _refresh(loop: _Loop, ds: date) -> Refresh:
    """Answer for the period, choose, fit, serve; then the period after."""
    step = timedelta(days=loop.stream.step)
    new = loop.places.between(ds - step + timedelta(days=1), ds)
    loop.answer(new)
    began = time.process_time()
    moved = _record_step(loop, new, ds) if loop.arm.record_step else None
    chosen = _chosen(loop, new, ds) if loop.arm.amount(loop.amount) else None
    selected = time.process_time()
    passes = features = records = 0
    if chosen is not None and len(chosen.rows):
        fitted = fit_arm(loop.arm, loop.pipeline, loop.parent, chosen, moved, loop.means)
        loop.parent = loaded(loop.parent.card, fitted.trained, fitted.history)
        loop.model, loop.means = fitted.served, fitted.means
        passes = fitted.history.rows
        features = sum(part.nbytes for part in chosen.rows.inputs)
        records = chosen.record_bytes
    done = time.process_time()
    after = loop.places.between(ds + timedelta(days=1), ds + step)
    return Refresh(
        ds,
        _after(loop, after),
        new.stop - new.start,
        passes,
        records,
        features,
        selected - began,
        done - selected,
    )


def _after(loop: _Loop, period: slice) -> Answers:
    """How the model that serves answers for the labelled rows of a period."""
    places = loop.places
    here = np.arange(period.start, period.stop)[~np.isnan(places.rows.label[period])]
    rows = places.rows.map(lambda column: column[here])
    return judged(loop.model or loop.parent.model(), loop.pipeline, rows, places.segment[here])


def _record_step(loop: _Loop, new: slice, ds: date) -> RecordStep | None:
    """What the new records that have a label by now say of the last layer of the model that left
    them."""
    here = np.arange(new.start, new.stop)
    here = here[loop.places.known[here] <= cut_of(ds).timestamp() * 1e6]
    if not len(here):
        return None
    training, task = loop.pipeline.training, loop.pipeline.task
    huber = task == "regression" and training.loss == "huber"
    served = ServedVersion("", 0, training.huber_delta if huber else np.inf)
    rows = from_arrow(records(loop, here), refresh_seed(loop.pipeline, ds))
    return step_of(sums(rows, served, task, loop.sketch.shape[1]), served)


class Chosen(NamedTuple):
    """Rows to fit, with weights and offsets, and what their records said."""

    rows: Rows
    residual: NDArray[np.float64]  # (k,) norm of the residual by the record
    record_bytes: int


def _chosen(loop: _Loop, new: slice, ds: date) -> Chosen:
    """The rows to fit."""
    places = loop.places
    first = ds - timedelta(days=loop.pipeline.selection.window_days - 1)
    window = places.between(first, ds)
    here = np.arange(max(window.start, loop.answered_from), window.stop)
    here = here[places.known[here] <= cut_of(ds).timestamp() * 1e6]
    if loop.arm.policy is None:
        fresh = here[~loop.taken[here]]
        loop.taken[fresh] = True
        return Chosen(places.rows.map(lambda column: column[fresh]), np.zeros(len(fresh)), 0)
    rows = min(loop.rows(new.stop - new.start), len(here))
    table = records(loop, here)
    drawn = selection_of(
        table,
        policy=loop.arm.policy,
        budget=f"{rows} rows",
        seed=refresh_seed(loop.pipeline, ds),
        task=loop.pipeline.task,
    ).rows(True)
    at = here[pc.index_in(drawn["instance_id"], table["instance_id"].combine_chunks()).to_numpy()]
    taken = places.rows.map(lambda column: column[at])
    weight = drawn["weight"].to_numpy().astype(np.float32)
    offset = drawn["offset"].to_numpy().astype(np.float32)
    return Chosen(
        Rows(taken.inputs, taken.label, weight, offset),
        residuals(loop.pipeline, loop.output[at], taken.label, offset),
        table.nbytes,
    )


def records(loop: _Loop, here: NDArray[np.int64]) -> pa.Table:
    """The forward records of the rows, with their labels."""
    table, output = loop.places.table, loop.output[here]
    given = {
        "instance_id": table["instance_id"].take(here),
        "label": loop.places.rows.label[here].astype(np.float64),
        "segments": table["segments"].take(here),
        "sketch": _lists(loop.sketch[here]),
    }
    if loop.pipeline.task == "multiclass":
        return pa.table(given | {"logits": _lists(output)})
    return pa.table(given | {"prediction": output[:, 0]})


def _lists(values: NDArray[np.float64] | NDArray[np.float32]) -> pa.Array:
    ends = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(ends, values.reshape(-1).astype(np.float32))


def residuals(
    pipeline: Pipeline,
    output: NDArray[np.float64],
    label: NDArray[np.float32],
    offset: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Signed residual (k,) of the record, as the fit will meet it: offset included (binary); of the
    label's own class (multiclass)."""
    if pipeline.task == "binary":
        return 1 / (1 + np.exp(-(output[:, 0] + offset))) - label
    if pipeline.task == "multiclass":
        shifted = np.exp(output - output.max(axis=1, keepdims=True))
        share = shifted / shifted.sum(axis=1, keepdims=True)
        return share[np.arange(len(label)), label.astype(int)] - 1
    return output[:, 0] - label
