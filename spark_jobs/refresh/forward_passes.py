"""Forward passes that pay for a refresh: instances with a record that no earlier one has counted.

Those are the distinct instances of the refresh's input that are not in the input of its
predecessor, the newest refresh of the same policy with an earlier date, both as pinned: held-out
and rejected ones too, each once however many records it left. Only days whose files differ can hold
one, so in steady state a day's ids are compared with those of a window.
"""

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake.exceptions import DeltaError
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.log import log
from schemas.manifests import Manifest, read_manifests
from schemas.places import filesystem, size_of
from schemas.progress import step
from spark_jobs.storage.python_tasks import over_batches
from spark_jobs.storage.warehouse import Warehouse

TABLE = "forward_records"
HERE = 1 << 22  # rows whose ids this process compares itself; above, Spark does
SHARD_ROWS = 1 << 21  # whose hashes a task compares

Files = Mapping[date, list[dict[str, Any]]]


@dataclass(frozen=True)
class _Input:
    """Records of a stretch of event dates at one version; until: those recorded by then alone."""

    first: date
    last: date
    version: int
    files: Files  # by event date
    until: datetime | None = None

    @staticmethod
    def of(
        warehouse: Warehouse, first: date, last: date, version: int, until: datetime | None = None
    ) -> "_Input":
        """The input as the table's log has it. Raises DeltaError where the log has it no more."""
        files: dict[date, list[dict[str, Any]]] = {}
        for file in warehouse.files(TABLE, version):
            day = file["partition"]["event_date"]
            if first <= day <= last:
                files.setdefault(day, []).append(file)
        return _Input(first, last, version, files, until)

    def rows(self, days: Set[date] | None = None) -> int:
        """How many records there are, of some days or of all."""
        wanted = self.files if days is None else days
        return sum(file["rows"] for day in wanted for file in self.files[day])

    def paths(self, day: date) -> set[str]:
        """The files of a day."""
        return {file["path"] for file in self.files.get(day, ())}


def predecessor(warehouse: Warehouse, policy: str, ds: date) -> Manifest | None:
    """The newest refresh of a policy with an earlier date than `ds`."""
    made = read_manifests(warehouse.path("refreshes"), policy=policy)
    return next((one for one in made if one.ds < ds), None)


def forward_passes(
    warehouse: Warehouse, first: date, last: date, version: int, before: Manifest | None
) -> int:
    """How many instances have a record in an input and none in that of `before`.

    The input are the records of event dates `first` to `last`, at a version of their table.
    """
    own = _Input.of(warehouse, first, last, version)
    if before is None:
        fresh, seen = set(own.files), None
    else:
        seen = _input_of(warehouse, before)
        whole = seen.until is None
        fresh = {day for day in own.files if not whole or own.paths(day) != seen.paths(day)}
    rows = own.rows(fresh) + (0 if seen is None else seen.rows())
    count = _here if rows <= HERE else _on_spark
    return count(warehouse, own, fresh, seen)


def recounted(warehouse: Warehouse, manifest: Manifest) -> Manifest:
    """The manifest with its forward passes counted from the predecessor that is there now."""
    inputs, before = manifest.inputs, predecessor(warehouse, manifest.policy, manifest.ds)
    name = None if before is None else before.refresh_id
    if manifest.allowance is None or manifest.allowance.predecessor == name:
        return manifest
    version = inputs.versions[TABLE]
    count = forward_passes(warehouse, inputs.window_start, manifest.ds, version, before)
    allowance = replace(manifest.allowance, forward_passes=count, predecessor=name)
    return replace(manifest, allowance=allowance)


def _input_of(warehouse: Warehouse, manifest: Manifest) -> _Input:
    """What a refresh read; where its version has expired, what had been recorded by then."""
    first, last = manifest.inputs.window_start, manifest.ds
    version = manifest.inputs.versions[TABLE]
    try:
        pinned = _Input.of(warehouse, first, last, version)
        paths = [path for day in pinned.files for path in pinned.paths(day)]
        if all(size_of(_place(warehouse, path)) is not None for path in paths):
            return pinned
    except DeltaError:
        pass  # as below: the log has forgotten the version, or its files are gone
    until = manifest.created_at
    log.warning(
        "%s: version %d of %s has expired; what had been recorded by %s stands for it",
        *(manifest.refresh_id, version, TABLE, until.isoformat()),
    )
    return _Input.of(warehouse, first, last, warehouse.version(TABLE), until)


def _place(warehouse: Warehouse, path: str) -> str:
    return f"{warehouse.path(TABLE)}/{unquote(path)}"


def _here(warehouse: Warehouse, own: _Input, fresh: Set[date], seen: _Input | None) -> int:
    rows = own.rows(fresh) + (0 if seen is None else seen.rows())
    with step("comparing ids", rows) as compared:
        parts = []
        for some in _ids(warehouse, own, fresh):
            parts.append(some)
            compared.add(len(some))
        ids = pa.chunked_array(parts, pa.string()).unique()
        known = np.zeros(len(ids), bool)
        for some in () if seen is None else _ids(warehouse, seen, seen.files.keys()):
            known |= np.asarray(pc.is_in(ids, value_set=some))
            compared.add(len(some))
    return int((~known).sum())


def _ids(warehouse: Warehouse, wanted: _Input, days: Set[date]) -> Iterator[pa.Array]:
    """The instances of each file of some days."""
    for file in (file for day in days for file in wanted.files[day]):
        store, place = filesystem(_place(warehouse, file["path"]))
        columns = ["instance_id", *(["recorded_at"] if wanted.until else [])]
        # By ParquetFile: a dataset would read the folder's name as a column.
        rows = pq.ParquetFile(place, filesystem=store).read(columns=columns)
        if wanted.until is not None:
            moment = rows["recorded_at"].cast(pa.timestamp("us", tz="UTC"))
            rows = rows.filter(pc.less_equal(moment, pa.scalar(wanted.until, moment.type)))
        yield rows["instance_id"].cast(pa.string()).combine_chunks()


def _on_spark(warehouse: Warehouse, own: _Input, fresh: Set[date], seen: _Input | None) -> int:
    """By two hashes of 64 bits in place of each id: that two ids have the same is out of the
    question, and one shuffle of 17 bytes a row serves the distinct and the comparison."""
    rows = _hashed(_frame(warehouse, own).where(F.col("event_date").isin(*fresh)), seen=False)
    count = own.rows(fresh)
    if seen is not None:
        rows = rows.unionByName(_hashed(_frame(warehouse, seen), seen=True))
        count += seen.rows()
    shards = rows.repartition(1 + count // SHARD_ROWS, "one")
    return sum(row["unseen"] for row in over_batches(shards, _unseen, "unseen BIGINT").collect())


def _hashed(rows: DataFrame, *, seen: bool) -> DataFrame:
    other = F.xxhash64("instance_id", F.lit(1))
    one = F.xxhash64("instance_id")
    return rows.select(one.alias("one"), other.alias("other"), F.lit(seen).alias("seen"))


def _unseen(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """How many ids of a partition are in no row that was seen."""
    held = list(batches)
    if not held:
        return
    one, other, seen = (np.asarray(column) for column in pa.Table.from_batches(held).columns)
    order = np.argsort(one)
    if (np.diff(one[order]) == 0).any():
        order = np.lexsort((other, one))
    one, other, seen = one[order], other[order], seen[order]
    begins = np.flatnonzero(np.append(True, (np.diff(one) != 0) | (np.diff(other) != 0)))
    before = np.add.reduceat(seen, begins, dtype=np.int64)
    yield pa.RecordBatch.from_pydict({"unseen": [int((before == 0).sum())]})


def _frame(warehouse: Warehouse, wanted: _Input) -> DataFrame:
    between = F.col("event_date").between(F.lit(wanted.first), F.lit(wanted.last))
    rows = warehouse.read(TABLE, wanted.version).where(between)
    return rows if wanted.until is None else rows.where(F.col("recorded_at") <= wanted.until)
