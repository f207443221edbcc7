"""Two tables of R's package mlbench, as Debian packages it (GPL-2): numbers, and which class?

Both are of the UCI repository. `shuttle`: NASA's in the Statlog version, 58,000 rows of nine
readings, seven states of a radiator. `letters`: Letter Image Recognition, 20,000 rows of 16 counts
and moments of a distorted capital. Their days are invented: so many rows a day in the order of the
files.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.study.stream import ONE_PASS, Stream, planned
from benchmarks.study.streams.fetched import fetched
from benchmarks.study.streams.images import NETWORK
from benchmarks.study.streams.r_data import data_frame
from benchmarks.study.streams.table import codes, dated
from schemas.pipeline import Pipeline


def shuttle(folder: Path) -> Stream:
    """Second confirmation: 58 days."""
    return stream_of("shuttle", _frame(folder, "Shuttle"), "Class", per_day=1000)


def letters(folder: Path) -> Stream:
    """Second confirmation: 40 days."""
    return stream_of("letters", _frame(folder, "LetterRecognition"), "lettr", per_day=500)


def _frame(folder: Path, name: str) -> dict[str, NDArray[Any]]:
    return data_frame(fetched(folder, f"mlbench/{name}.rda"), name)


def stream_of(name: str, frame: Mapping[str, NDArray[Any]], label: str, *, per_day: int) -> Stream:
    """The stream of a data frame whose columns are numbers, but for the label: a class by its name,
    in the order of the names."""
    numbers = {
        column.lower().replace(".", "_"): values.astype(np.float32)
        for column, values in frame.items()
        if column != label
    }
    classes = codes(frame[label]) - 1
    rows = dated("row", per_day, numbers, classes)
    pipeline = _pipeline(name, list(numbers), int(classes.max()) + 1)
    return planned(name, "second", pipeline, rows, learnt_days=2, tuning=10)


def _pipeline(name: str, numbers: list[str], classes: int) -> Pipeline:
    return Pipeline.model_validate(
        {
            "name": name,
            "task": "multiclass",
            "instances": {
                "columns": {one: {"type": "float32", "doc": "As in the file."} for one in numbers}
            },
            "labels": {
                "label": "kind",
                "classes": classes,
                "columns": {"kind": {"type": "float64", "doc": "The class, from 0 on."}},
            },
            "features": {one: {"kind": "number"} for one in numbers},
            "selection": {"window_days": 10},
            "model": NETWORK,
            "training": ONE_PASS,
        }
    )
