"""Forward passes that pay for a refresh: instances with a record that no earlier one has counted.

Those are the distinct instances of the refresh's input that are not in the input of its
predecessor, the newest refresh of the same policy with an earlier date, both as pinned: held-out
and rejected ones too, each once however many records it left. Where the predecessor's window does
not reach as far back, those before it have counted what is older; where a later refresh was made
first, it has counted what it found. Only days whose files differ can hold a new one, so in steady
state a day's ids are compared with those of a window.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
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
    """Records of some event dates at one version; until: those recorded by then alone."""

    version: int
    files: Files  # by event date
    until: datetime | None = None

    @staticmethod
    def of(
        warehouse: Warehouse, days: Set[date], version: int, until: datetime | None = None
    ) -> "_Input":
        """The input as the table's log has it. Raises DeltaError where the log has it no more."""
        files: dict[date, list[dict[str, Any]]] = {}
        for file in warehouse.files(TABLE, version):
            day = file["partition"]["event_date"]
            if day in days:
                files.setdefault(day, []).append(file)
        return _Input(version, files, until)

    def rows(self, days: Set[date] | None = None) -> int:
        """How many records there are, of some days or of all."""
        wanted = self.files if days is None else days
        return sum(file["rows"] for day in wanted for file in self.files[day])

    def paths(self, day: date) -> set[str]:
        """The files of a day."""
        return {file["path"] for file in self.files.get(day, ())}


def of_policy(warehouse: Warehouse, policy: str) -> list[Manifest]:
    """The refreshes of a policy, the newest date first."""
    return read_manifests(warehouse.path("refreshes"), policy=policy)


def predecessor(made: Sequence[Manifest], ds: date) -> Manifest | None:
    """The newest of a policy's refreshes with an earlier date than `ds`."""
    return next((one for one in made if one.ds < ds), None)


def counted_before(made: Sequence[Manifest], ds: date) -> list[Manifest]:
    """Of a policy's refreshes, the newest first, those that have counted forward passes when one of
    the date `ds` is made: all with an earlier date; and those with a later one where the first of
    them was made without it, and so has counted its forward passes as well."""
    dates = {one.refresh_id: one.ds for one in made}

    def passed_over(one: Manifest) -> bool:
        if one.ds <= ds or one.allowance is None:
            return False
        name = one.allowance.predecessor
        return name is None or dates.get(name, ds) < ds

    anyone = any(passed_over(one) for one in made)
    return [one for one in made if one.ds < ds or (anyone and one.ds > ds)]


def counted_by(
    warehouse: Warehouse,
    refresh_id: str,
    first: date,
    ds: date,
    version: int,
    made: Sequence[Manifest],
) -> int:
    """How many forward passes a refresh counts, beside those of its policy that are made, the
    newest date first: a new one what none of `counted_before` has; one that is made anew keeps what
    it had counted, and adds what none has.

    Its input are the records of event dates `first` to `ds`, at a version of their table.
    """
    own = next((one.allowance for one in made if one.refresh_id == refresh_id), None)
    if own is None:
        return forward_passes(warehouse, first, ds, version, counted_before(made, ds))
    return own.forward_passes + forward_passes(warehouse, first, ds, version, made)


def forward_passes(
    warehouse: Warehouse, first: date, last: date, version: int, before: Sequence[Manifest]
) -> int:
    """How many instances have a record in an input and none in those of the refreshes `before`.

    The input are the records of event dates `first` to `last`, at a version of their table. before:
    the newest date first.
    """
    own = _Input.of(warehouse, _days(first, last), version)
    seen = [_input_of(warehouse, one, days) for one, days in _asked(before, first, last)]
    whole = [one for one in seen if one.until is None]
    same = {day for one in whole for day in own.files if own.paths(day) == one.paths(day)}
    fresh = own.files.keys() - same
    rows = own.rows(fresh) + sum(one.rows() for one in seen)
    count = _here if rows <= HERE else _on_spark
    return count(warehouse, own, fresh, seen)


def _asked(before: Sequence[Manifest], first: date, last: date) -> list[tuple[Manifest, set[date]]]:
    """Which event dates to ask of which refresh: of those whose window holds a date the one that
    read the newest version, which has all that the others had. What the predecessor's window has
    of other dates is asked as well: ids may come again."""
    holds: dict[date, Manifest] = {}
    newest = predecessor(before, last)
    for one in before:
        for day in _days(one.inputs.window_start, one.ds):
            if one is not newest and not first <= day <= last:
                continue
            if day not in holds or _version(holds[day]) < _version(one):
                holds[day] = one
    asked: dict[str, set[date]] = {}
    for day, one in holds.items():
        asked.setdefault(one.refresh_id, set()).add(day)
    return [(one, asked[one.refresh_id]) for one in before if one.refresh_id in asked]


def _days(first: date, last: date) -> set[date]:
    return {first + timedelta(days=number) for number in range((last - first).days + 1)}


def _version(manifest: Manifest) -> int:
    return manifest.inputs.versions[TABLE]


def recounted(
    warehouse: Warehouse, manifest: Manifest, formers: Mapping[str, Manifest | None]
) -> Manifest:
    """The manifest with its forward passes counted anew, as if the refreshes that were made at the
    same time had been made one after the other. formers: what was there of each of these before.
    """
    former, everything = formers[manifest.refresh_id], of_policy(warehouse, manifest.policy)
    if manifest.allowance is None or manifest == former:
        return manifest
    stood = [
        formers[one.refresh_id] if one.refresh_id in formers and one.ds >= manifest.ds else one
        for one in everything
    ]
    made, ds = [one for one in stood if one is not None], manifest.ds
    first, before = manifest.inputs.window_start, predecessor(everything, ds)
    count = counted_by(warehouse, manifest.refresh_id, first, ds, _version(manifest), made)
    name = None if before is None else before.refresh_id
    return replace(
        manifest, allowance=replace(manifest.allowance, forward_passes=count, predecessor=name)
    )


def _input_of(warehouse: Warehouse, manifest: Manifest, days: Set[date]) -> _Input:
    """What a refresh read of some event dates; where its version has expired, what had been
    recorded by then."""
    version = _version(manifest)
    try:
        pinned = _Input.of(warehouse, days, version)
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
    return _Input.of(warehouse, days, warehouse.version(TABLE), until)


def _place(warehouse: Warehouse, path: str) -> str:
    return f"{warehouse.path(TABLE)}/{unquote(path)}"


def _here(warehouse: Warehouse, own: _Input, fresh: Set[date], seen: Sequence[_Input]) -> int:
    rows = own.rows(fresh) + sum(one.rows() for one in seen)
    with step("comparing ids", rows) as compared:
        parts = []
        for some in _ids(warehouse, own, fresh):
            parts.append(some)
            compared.add(len(some))
        ids = pa.chunked_array(parts, pa.string()).unique()
        known = np.zeros(len(ids), bool)
        for some in (part for one in seen for part in _ids(warehouse, one, one.files.keys())):
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


def _on_spark(warehouse: Warehouse, own: _Input, fresh: Set[date], seen: Sequence[_Input]) -> int:
    """By two hashes of 64 bits in place of each id: that two ids have the same is out of the
    question, and one shuffle of 17 bytes a row serves the distinct and the comparison."""
    rows = _hashed(_frame(warehouse, own).where(F.col("event_date").isin(*fresh)), seen=False)
    count = own.rows(fresh)
    for one in seen:
        rows = rows.unionByName(_hashed(_frame(warehouse, one), seen=True))
        count += one.rows()
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
    rows = warehouse.read(TABLE, wanted.version).where(F.col("event_date").isin(*wanted.files))
    return rows if wanted.until is None else rows.where(F.col("recorded_at") <= wanted.until)
