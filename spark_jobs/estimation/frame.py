"""The rows that an estimate stands for: who is in, with which probability, and what is known."""

from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import NoDataError
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.from_arrow import predictions
from spark_jobs.selection.tasks import loss, residual

# Of every row; `residual*sketch` and the like are products.
KNOWN = ("loss", "label", "prediction", "residual", "score", "segments", "sketch")


def segment_column(name: str) -> str:
    """Where a frame has the levels of a segment: people may call one `score` or `label`, as columns
    of the frame are called."""
    return f"segment {name}"


def answer_column(name: str) -> str:
    """Where it has what others answered, for the same reason."""
    return f"answer {name}"


def as_given(column: str) -> str:
    """What whoever asks calls a column of a frame."""
    return column.removeprefix(answer_column("")).removeprefix(segment_column(""))


class SamplingFrame(NamedTuple):
    """instance_id, held_out, label, loss, probability, drawn, and what the records hold; and how
    many rows are in it, of which kind, and how many are not."""

    rows: pa.Table
    counts: dict[str, int]


def frame_from(given: pa.Table, task: str, segments: tuple[str, ...]) -> SamplingFrame:
    """The frame of what `candidates.drawn_from` reads, each segment a `segment_column` of its own.

    given may say of each row whether a model has `learnt` from it and how likely it was not to
    (`unlearnt`): such rows are not drawn, the others' probabilities are that much less, and what
    every draw teaches is outside. So is a row without a record. Raises NoDataError where no drawn
    row is left.
    """
    rows = given.filter(given["segments"].is_valid())
    without = given.num_rows - rows.num_rows
    sure = 0
    if "learnt" in rows.column_names:
        may = pc.greater(rows["unlearnt"], 0.0)
        sure = rows.num_rows - count(may)
        rows = rows.filter(may)
        chance = pc.multiply(rows["probability"], rows["unlearnt"])
        drawn = pc.and_(rows["drawn"], pc.invert(rows["learnt"]))
        rows = _with(_with(rows, "probability", chance), "drawn", drawn)
    if rows["label"].null_count:  # those of an ask have none
        rows = _with(rows, "residual", rows["label"])
    else:
        label, answers = rows["label"].to_numpy(), predictions(rows)
        own = loss(task, answers, label)  # of held-out rows, of which selection stored none
        rows = _with(rows, "loss", pc.coalesce(rows["loss"], pa.array(own)))
        rows = _with(rows, "residual", _column(residual(task, answers, label)))
    for place, name in enumerate(segments):
        rows = _with(rows, segment_column(name), pc.list_element(rows["segments"], place))
    held, drawn = rows["held_out"], rows["drawn"]
    counts = {
        "rows": rows.num_rows,
        "drawn": count(drawn),
        "held_out": count(held),
        "without_record": without,
        "sure_to_be_learnt": sure,
    }
    if not counts["drawn"]:
        raise NoDataError(
            f"no drawn row is left of {given.num_rows}: {without} have no record, and a model would"
            " have been judged on what it learnt from in the others. Remedy: name a later refresh."
        )
    return SamplingFrame(rows, counts)


def count(mask: pa.ChunkedArray) -> int:
    """How many entries of a mask are true."""
    return int(pc.sum(mask, min_count=0).as_py())


def _with(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    """The table with a column, in place of the one of that name where there is one."""
    kept = [one for one in table.column_names if one != name]
    return table.select(kept).append_column(name, column)


def _column(values: Array) -> pa.Array:
    """A matrix (n, m) as numbers where m is 1, else as lists."""
    if values.shape[1] == 1:
        return pa.array(values[:, 0])
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
