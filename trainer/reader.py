"""Reads a refresh through Petastorm, every row once, into arrays in the order of `position`.

A Petastorm reader can end early without an error, in every version and pool, so each pass is
counted against the manifest; a short pass is read again, and never trained on.
"""

import logging
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.bundle import ModelInput, model_inputs, stack_inputs
from schemas.columns import Table
from schemas.errors import DataQualityError
from schemas.pipeline import Pipeline
from schemas.tables import holdout, sampled
from trainer.refresh import DataFile, Refresh

ATTEMPTS = 4  # one pass, and at most three more

log = logging.getLogger("tenforward")

Batches = Iterable[Mapping[str, NDArray[Any]]]
Pass = Callable[[Sequence[Path], Sequence[str]], Batches]


@dataclass(frozen=True)
class Rows:
    """A set of rows in memory, ready for tensors; n rows, c categories, m numbers."""

    categories: NDArray[np.int64]  # (n, c)
    numbers: NDArray[np.float32]  # (n, m)
    label: NDArray[np.float32]  # (n,)
    weight: NDArray[np.float32]  # (n,), 1 where the table has none
    offset: NDArray[np.float32]  # (n,), 0 where the table has none

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.label)


def read_sampled(pipeline: Pipeline, refresh: Refresh) -> Rows:
    """The training rows of a refresh."""
    return _rows(pipeline, sampled(pipeline), refresh.refresh_id, refresh.sampled)


def read_holdout(pipeline: Pipeline, refresh: Refresh) -> Rows:
    """The held-out rows of a refresh, never trained on."""
    return _rows(pipeline, holdout(pipeline), refresh.refresh_id, refresh.holdout)


def _rows(pipeline: Pipeline, table: Table, refresh_id: str, files: Sequence[DataFile]) -> Rows:
    columns = read_exactly(files, table.reader_fields, f"refresh {refresh_id}, table {table.name}")
    return rows_from(model_inputs(pipeline), columns)


def rows_from(features: Sequence[ModelInput], columns: Mapping[str, NDArray[Any]]) -> Rows:
    """Encoded features and `label`, with `weight` and `offset` where there are any.

    Raises what `stack_inputs` raises: ConfigurationError for a feature that is not there,
    DataQualityError for a code outside its buckets.
    """
    categories, numbers = stack_inputs(features, columns)
    count = len(columns["label"])
    return Rows(
        categories=categories,
        numbers=numbers,
        label=columns["label"],
        weight=columns.get("weight", np.ones(count, np.float32)),
        offset=columns.get("offset", np.zeros(count, np.float32)),
    )


def read_exactly(
    files: Sequence[DataFile],
    fields: Mapping[str, np.dtype[Any]],
    what: str,
    one_pass: Pass | None = None,
) -> dict[str, NDArray[Any]]:
    """Columns `fields` of the files, in `position` order; `what` names the set in errors.

    A pass that gives another number of rows than the files hold is read again, at most three
    times. Raises DataQualityError when none was whole, or when a position is not there once.
    """
    expected = sum(file.rows for file in files)
    if expected == 0:
        return {name: np.empty(0, dtype) for name, dtype in fields.items()}
    paths = sorted(file.path for file in files if file.rows)
    counts = []
    for _ in range(ATTEMPTS):
        columns = _collect((one_pass or petastorm_pass)(paths, list(fields)), fields)
        counts.append(len(columns["position"]))
        if counts[-1] == expected:
            return _in_order(columns, what)
        log.warning("%s: a pass gave %d rows of %d, reading again", what, counts[-1], expected)
    raise DataQualityError(
        f"{what}: passes gave {counts} rows, the manifest says {expected}. Remedy: repeat the"
        " command; if it fails again the files were altered, so select again with --force."
    )


def _collect(batches: Batches, fields: Mapping[str, np.dtype[Any]]) -> dict[str, NDArray[Any]]:
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in fields}
    for batch in batches:
        for name, part in parts.items():
            part.append(np.asarray(batch[name]))
    return {
        name: np.concatenate(part).astype(fields[name]) if part else np.empty(0, fields[name])
        for name, part in parts.items()
    }


def _in_order(columns: dict[str, NDArray[Any]], what: str) -> dict[str, NDArray[Any]]:
    order = np.argsort(columns["position"], kind="stable")
    position = columns["position"][order]
    wrong = np.flatnonzero(position != np.arange(len(position)))
    if wrong.size:
        raise DataQualityError(
            f"{what}: positions should be 0 to {len(position) - 1}, each once; place {wrong[0]}"
            f" holds {position[wrong[0]]}. Remedy: select again with --force."
        )
    return {name: column[order] for name, column in columns.items()}


def petastorm_pass(paths: Sequence[Path], names: Sequence[str]) -> Batches:
    """One pass over the files by one Petastorm reader, a batch a row group, in file order.

    One worker and no shuffling is the setting measured whole; a reader is used for one pass only.
    """
    with warnings.catch_warnings():
        # Petastorm's use of pyarrow 14 gives a page of FutureWarnings a read.
        warnings.simplefilter("ignore", FutureWarning)
        from petastorm import make_batch_reader

        from trainer.petastorm_pool import end_only_when_done

        with make_batch_reader(
            [f"file://{path}" for path in paths],
            schema_fields=[f"^{re.escape(name)}$" for name in names],
            reader_pool_type="thread",
            workers_count=1,
            shuffle_row_groups=False,
            num_epochs=1,
        ) as reader:
            end_only_when_done(reader)
            return [batch._asdict() for batch in reader]
