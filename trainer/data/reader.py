"""Reads a refresh by `training.reader`, every row once, into arrays in the order of `position`.

A Petastorm reader can end early without an error, in every version and pool, so each pass is
counted against the manifest; a short pass is read again, and never trained on. A sample is read by
file groups, a reader and a count each, several of them at a time.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from schemas.columns import Table
from schemas.errors import DataQualityError
from schemas.inputs import ModelInput, model_inputs, stack_inputs
from schemas.log import log
from schemas.pipeline import Pipeline
from schemas.places import filesystem, on_this_machine
from schemas.tables import holdout, sampled
from trainer.data.passes import PASSES, Batches, Columns, Pass, arrow_pass, petastorm_pass
from trainer.data.refresh import DataFile, FileGroup, Refresh, no_longer_read

T = TypeVar("T")

ATTEMPTS = 4  # one pass, and at most three more


@dataclass(frozen=True)
class Rows:
    """A set of rows in memory, ready for tensors; n rows."""

    inputs: tuple[NDArray[Any], ...]  # what the model takes, each (n, ...): see `stack_inputs`
    label: NDArray[np.float32]  # (n,)
    weight: NDArray[np.float32]  # (n,), 1 where the table has none
    offset: NDArray[np.float32]  # (n,), 0 where the table has none

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.label)

    @property
    def categories(self) -> NDArray[np.int64]:
        """Codes (n, c)."""
        return self.inputs[0]

    @property
    def numbers(self) -> NDArray[np.float32]:
        """Numbers (n, m)."""
        return self.inputs[1]

    def map(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> "Rows":
        """The rows with every array changed alike, such as cut or put in another order."""
        return Rows(
            tuple(map(change, self.inputs)),
            change(self.label),
            change(self.weight),
            change(self.offset),
        )

    @staticmethod
    def joined(parts: Sequence["Rows"]) -> "Rows":
        """The rows of all parts, one part after the other."""
        if len(parts) == 1:
            return parts[0]
        return Rows(
            tuple(map(np.concatenate, zip(*(part.inputs for part in parts), strict=True))),
            np.concatenate([part.label for part in parts]),
            np.concatenate([part.weight for part in parts]),
            np.concatenate([part.offset for part in parts]),
        )


@dataclass(frozen=True)
class HeldOut:
    """The rows to judge by, none of them ever trained on; n rows."""

    rows: Rows  # weight: what the row itself counts for
    forward: NDArray[np.bool_]  # (n,), asked after every day that was drawn from
    segments: Mapping[str, NDArray[Any]]  # (n,) levels by segment key
    # The inputs of models with an encoding of their own, by what the model is: `champion`.
    others: Mapping[str, tuple[NDArray[Any], ...]] = field(default_factory=dict)

    def read_by(self, other: str) -> Rows:
        """The rows as a model of another encoding reads them; as they are where it has none."""
        return replace(self.rows, inputs=self.others.get(other, self.rows.inputs))

    def at(self, here: NDArray[np.bool_]) -> "HeldOut":
        """Some of the rows (n,)."""
        return HeldOut(
            self.rows.map(lambda column: column[here]),
            self.forward[here],
            {key: levels[here] for key, levels in self.segments.items()},
            {of: tuple(one[here] for one in inputs) for of, inputs in self.others.items()},
        )


def read_sampled(pipeline: Pipeline, refresh: Refresh) -> Rows:
    """The training rows of a refresh."""
    if not refresh.file_groups:
        columns = _columns(sampled(pipeline), refresh.refresh_id, (), arrow_pass)
        return rows_from(model_inputs(pipeline), columns)
    return Rows.joined(list(read_parts(pipeline, refresh)))


def read_parts(pipeline: Pipeline, refresh: Refresh) -> Iterator[Rows]:
    """The same a file group at a time, in `position` order."""
    handle = partial(rows_from, model_inputs(pipeline))
    return read_file_groups(pipeline, refresh, ((group, handle) for group in refresh.file_groups))


def read_file_groups(
    pipeline: Pipeline, refresh: Refresh, wanted: Iterable[tuple[FileGroup, Callable[[Columns], T]]]
) -> Iterator[T]:
    """What is made of each group's columns, which are in `position` order, one group after the
    other; the next ones are decoded, and made into what they are to be, meanwhile.

    At most `training.readers` groups are decoded ahead, and as many at a time.
    """
    table, settings = sampled(pipeline), pipeline.training
    one_pass, ahead = PASSES[settings.reader], settings.readers

    def read(group: FileGroup, handle: Callable[[Columns], T]) -> T:
        return handle(_columns(table, refresh.refresh_id, group.files, one_pass, group.start))

    pending: deque[Future[T]] = deque()
    with ThreadPoolExecutor(ahead, "reader") as pool:
        try:
            for group, handle in wanted:
                pending.append(pool.submit(read, group, handle))
                if len(pending) > ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def read_holdout(pipeline: Pipeline, refresh: Refresh) -> HeldOut:
    """The held-out rows of a refresh; what each weighs is its own weight."""
    one_pass = PASSES[pipeline.training.reader]
    columns = _columns(holdout(pipeline), refresh.refresh_id, refresh.holdout, one_pass)
    beside = _beside(refresh)
    if "row_weight" in beside.column_names:
        own = pc.fill_null(beside["row_weight"], 1.0).to_numpy().astype(np.float32)
        columns["weight"] = own
    rows = rows_from(model_inputs(pipeline), columns)
    return HeldOut(rows, columns["forward"], _segments(pipeline, refresh, beside))


def _beside(refresh: Refresh) -> pa.Table:
    """What no tensor holds of the held-out rows, strings and nulls, by pyarrow and by position:
    `segments`, and `row_weight` where the refresh has one, whatever the pipeline says by now."""
    names = ["position", "segments", "row_weight"]
    tables = []
    for file in refresh.holdout:
        store, path = filesystem(file.path)
        with pq.ParquetFile(path, filesystem=store) as stored:
            there = stored.schema_arrow.names
            tables.append(stored.read(columns=[name for name in names if name in there]))
    if not tables:
        return pa.table({"position": pa.array([], pa.int64())})
    return pa.concat_tables(tables).sort_by("position")


def _segments(pipeline: Pipeline, refresh: Refresh, beside: pa.Table) -> dict[str, NDArray[Any]]:
    """The level (n,) of every held-out row by segment key, of the pipeline's those that the rows
    have. beside: as `_beside` reads it."""
    names = refresh.segments or tuple(pipeline.instances.segments)
    if not refresh.holdout:
        return {name: np.zeros(0, np.str_) for name in pipeline.instances.segments}
    levels = beside["segments"]
    width = pc.min(pc.list_value_length(levels)).as_py() or 0
    return {
        name: pc.list_element(levels, place).to_numpy().astype(np.str_)
        for place, name in enumerate(names[:width])
        if name in pipeline.instances.segments
    }


def _columns(
    table: Table, refresh_id: str, files: Sequence[DataFile], one_pass: Pass, first: int = 0
) -> dict[str, NDArray[Any]]:
    what = f"refresh {refresh_id}, table {table.name}"
    try:
        return read_exactly(files, _fields(table), what, one_pass, first=first)
    except (OSError, pa.ArrowException) as error:
        raise no_longer_read(refresh_id, error) from error


def _fields(table: Table) -> dict[str, np.dtype[Any]]:
    """What tensors hold of a table: not what may be null (`_beside`)."""
    nullable = {column.name for column in table.columns if column.nullable}
    return {name: dtype for name, dtype in table.reader_fields.items() if name not in nullable}


def rows_from(features: Sequence[ModelInput], columns: Columns) -> Rows:
    """Encoded features and `label`, with `weight` and `offset` where there are any.

    Raises what `stack_inputs` raises: ConfigurationError for a feature that is not there,
    DataQualityError for a code outside its buckets.
    """
    count = len(columns["label"])
    return Rows(
        inputs=stack_inputs(features, columns),
        label=columns["label"],
        weight=columns.get("weight", np.ones(count, np.float32)),
        offset=columns.get("offset", np.zeros(count, np.float32)),
    )


def read_exactly(
    files: Sequence[DataFile],
    fields: Mapping[str, np.dtype[Any]],
    what: str,
    one_pass: Pass = petastorm_pass,
    *,
    first: int = 0,
) -> dict[str, NDArray[Any]]:
    """Columns `fields` of the files, in `position` order; `what` names the set in errors.

    The positions are `first` and those that follow it. A pass that gives another number of rows
    than the files hold is read again, at most three times. Raises DataQualityError when none was
    whole, or when a position is not there once.
    """
    expected = sum(file.rows for file in files)
    if expected == 0:
        return {name: _joined([], dtype) for name, dtype in fields.items()}
    counts = []
    with on_this_machine(sorted(file.path for file in files if file.rows)) as paths:
        for _ in range(ATTEMPTS):
            columns = _collect(one_pass(paths, list(fields)), fields)
            counts.append(len(columns["position"]))
            if counts[-1] == expected:
                return _in_order(columns, what, first)
            log.warning("%s: a pass gave %d rows of %d, reading again", what, counts[-1], expected)
    raise DataQualityError(
        f"{what}: passes gave {counts} rows, the manifest says {expected}. Remedy: repeat the"
        " command; if it fails again the files were altered, so select again with --rebuild."
    )


def _collect(batches: Batches, fields: Mapping[str, np.dtype[Any]]) -> dict[str, NDArray[Any]]:
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in fields}
    for batch in batches:
        for name, part in parts.items():
            part.append(np.asarray(batch[name]))
    return {name: _joined(part, fields[name]) for name, part in parts.items()}


def _joined(parts: Sequence[NDArray[Any]], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Batches of a column as one array; `dtype` has a shape where the column holds arrays."""
    if not parts:
        return np.empty((0, *dtype.shape), dtype.base)
    whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return whole.astype(dtype.base, copy=False)


def _in_order(columns: dict[str, NDArray[Any]], what: str, first: int) -> dict[str, NDArray[Any]]:
    order = order_of(columns["position"], what, first)
    return columns if order is None else {n: column[order] for n, column in columns.items()}


def order_of(positions: NDArray[Any], what: str, first: int = 0) -> NDArray[np.intp] | None:
    """The places (n,) that put rows in the order of their positions (n,); None where they are.

    Raises DataQualityError, with `what` in it, unless each of `first` ... `first` + n - 1 is there.
    """
    expected = np.arange(first, first + len(positions))
    if np.array_equal(positions, expected):
        return None
    order = np.argsort(positions, kind="stable")
    wrong = np.flatnonzero(positions[order] != expected)
    if wrong.size:
        raise DataQualityError(
            f"{what}: positions should be {first} to {first + len(positions) - 1}, each once;"
            f" place {expected[wrong[0]]} holds {positions[order][wrong[0]]}. Remedy: select again"
            " with --rebuild."
        )
    return order
