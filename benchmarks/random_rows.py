"""Refreshes of random rows: what is measured is how fast rows are read and fitted, not which."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.pipeline import Pipeline
from schemas.sections.store import Feature
from trainer.data.refresh import DataFile, FileGroup, Refresh

LATE = 0.24  # share of ones among the labels of two classes


def written(folder: Path, pipeline: Pipeline, rows: int, files: int) -> Refresh:
    """A refresh with the columns of a pipeline's sample, in so many files of equal size."""
    random = np.random.default_rng(7)
    groups = []
    for number, part in enumerate(np.array_split(np.arange(rows), files)):
        count = len(part)
        columns = {"position": pa.array(part)}
        for name, feature in pipeline.features.items():
            columns[name] = _values(random, feature, count)
        columns |= {
            "label": pa.array(_labels(random, pipeline, count)),
            "weight": pa.array(random.uniform(0.2, 3, count).astype(np.float32)),
            "offset": pa.array(np.zeros(count, np.float32)),
            "probability": pa.array(np.full(count, 0.1)),
        }
        path = folder / f"part-{number:05d}.parquet"
        pq.write_table(pa.table(columns), path, row_group_size=count)
        file = DataFile(str(path), count, path.stat().st_size, int(part[0]))
        groups.append(FileGroup(file.start, file.rows, (file,)))
    sampled = tuple(group.files[0] for group in groups)
    return Refresh("bench", "uniform", "2013-01-01", "none", rows, 0, sampled, tuple(groups), ())


def _values(random: np.random.Generator, feature: Feature, count: int) -> pa.Array:
    """Encoded values of a feature: codes, numbers, or tensors as lists."""
    if feature.kind == "category":
        return pa.array(random.integers(0, feature.buckets, count).astype(np.int32))
    if feature.kind == "number":
        return pa.array(random.normal(size=count).astype(np.float32))
    flat = random.random(count * feature.size, np.float32)
    ends = np.arange(0, len(flat) + 1, feature.size, dtype=np.int32)
    return pa.ListArray.from_arrays(ends, flat)


def _labels(random: np.random.Generator, pipeline: Pipeline, count: int) -> Any:
    if pipeline.task == "multiclass":
        return random.integers(0, pipeline.labels.classes or 2, count).astype(np.float32)
    return (random.random(count) < LATE).astype(np.float32)
