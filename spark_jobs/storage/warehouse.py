"""The tables of one pipeline on storage: create, read at a version, append or replace once.

A warehouse holds one pipeline. Tables are created up front; jobs never create or widen one.
"""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any, NamedTuple

from delta import exceptions as delta
from deltalake import DeltaTable as Snapshot
from pyspark.sql import DataFrame, DataFrameWriter, SparkSession
from pyspark.sql import functions as F

from schemas.columns import TYPES, Table
from schemas.errors import ConfigurationError, ConflictError
from schemas.foreign import ASKED, ForeignTable, foreign_sections, foreign_table, table_place
from schemas.foreign_source import ForeignSource, foreign_source
from schemas.manifests import read_manifests
from schemas.pipeline import Pipeline
from schemas.places import for_spark
from schemas.progress import step
from schemas.tables import all_tables
from spark_jobs.storage import logs
from spark_jobs.storage.catalog import find_places
from spark_jobs.storage.foreign_frames import WRITTEN, foreign_rows
from spark_jobs.storage.links import require_links
from spark_jobs.storage.session import spark_session
from spark_jobs.storage.small_data import is_small, starts_java, starts_session

# Another writer won. By name: in Python, unlike in Scala, they do not derive from the first.
CONFLICTS = (
    delta.DeltaConcurrentModificationException,
    delta.ConcurrentWriteException,
    delta.MetadataChangedException,
    delta.ProtocolChangedException,
    delta.ConcurrentAppendException,
    delta.ConcurrentDeleteReadException,
    delta.ConcurrentDeleteDeleteException,
    delta.ConcurrentTransactionException,
)


class Appended(NamedTuple):
    """Rows that an append added, and the version that holds them."""

    rows: int
    version: int


class Claim(NamedTuple):
    """Under which number a run writes a refresh, and whether it rebuilds it: `refresh.claims`."""

    refresh_id: str
    number: int
    rebuilds: bool = False


@dataclass(frozen=True)
class Warehouse:
    """Where the tables of `pipeline` are, and how jobs read and write them.

    Data go through Spark; metadata (versions, transactions, columns) through delta-rs, which
    answers in milliseconds where a Spark query for the same takes a third of a second.
    """

    root: str
    pipeline: Pipeline
    claim: Claim | None = None
    lasts: bool = False  # whether its session lasts for many minutes: Java then compiles well

    @cached_property
    def spark(self) -> SparkSession:
        """The session, started when data are first read or written and not for metadata."""
        require_links(self.root)
        with step("starting Spark"):
            small = starts_session() and is_small(
                self.root, self.own_tables, self._elsewhere(), though_empty=starts_java()
            )
            session = spark_session(self.pipeline.name, small=small, lasts=self.lasts)
        find_places(session, self.pipeline, self.root)
        return session

    @property
    def tables(self) -> dict[str, Table]:
        """Every table of the pipeline by name."""
        return all_tables(self.pipeline)

    @property
    def own_tables(self) -> dict[str, Table]:
        """Those that are tenforward's own: nothing is written to any other."""
        foreign = foreign_sections(self.pipeline)
        return {name: table for name, table in self.tables.items() if name not in foreign}

    def _elsewhere(self) -> Iterator[ForeignTable]:
        """Those tables whose place is known."""
        for name in foreign_sections(self.pipeline):
            with suppress(ConfigurationError):  # which is told where the table is read
                table = foreign_table(self.pipeline, self.root, name)
                if table is not None:
                    yield table

    def foreign(self, name: str, asked: int | None = None) -> ForeignSource | None:
        """A table that is somebody else's; None where it is one of `own_tables`. asked: the version
        of `instances` that labels may take their moments from."""
        return foreign_source(self.pipeline, self.root, name, asked)

    def pins_elsewhere(self) -> dict[str, dict[str, str | None]]:
        """Of each table that is somebody else's, what tells it from another one in its place."""
        found = {name: self.foreign(name) for name in foreign_sections(self.pipeline)}
        return {name: source.pin() for name, source in found.items() if source is not None}

    def path(self, name: str) -> str:
        """Absolute path or URI of a table; Spark's name of it is `for_spark` of that."""
        return table_place(self.pipeline, self.root, name)

    def placed(self, versions: Mapping[str, int | None]) -> list[dict[str, Any]]:
        """A row a table, as results tell what was read or written at which version."""
        return [
            {"table": name, "path": self.path(name), "version": version}
            for name, version in versions.items()
        ]

    def exists(self, name: str) -> bool:
        """Whether the table has been created; of one elsewhere, whether it is there."""
        return logs.there(self.pipeline, self.root, name)

    def require_own(self, name: str) -> None:
        """Refuse to write to a table that is somebody else's. Raises ConfigurationError."""
        source = self.foreign(name)
        if source is not None:
            raise ConfigurationError(
                f"table {source.table}: is somebody else's and only read. Remedy: whoever writes it"
                f" adds the rows; or take path or table out of [{source.table.section}]."
            )

    def require(self, *names: str) -> None:
        """Refuse a warehouse that lacks a table or a column, or that is another pipeline's."""
        logs.require(self.pipeline, self.root, *names)

    def read(
        self,
        name: str,
        version: int | None = None,
        asked: int | None = None,
        written: str | None = None,
    ) -> DataFrame:
        """The table, now or at a version; there null in what a later release has brought.

        asked: the version of `instances`, for labels elsewhere that take their moments from there.
        written: a further column's name, for when the file of each row was written.
        """
        source = self.foreign(name)
        if source is not None:
            now = source.version() if version is None else version
            event = self.read(ASKED, asked) if source.table.asks_instances else None
            return foreign_rows(self.spark, source.table, now, event, written)
        reader = self.spark.read.format("delta")
        if version is not None:
            reader = reader.option("versionAsOf", version)
        rows = reader.load(for_spark(self.path(name)))
        if written is not None:
            rows = rows.select("*", F.col(WRITTEN).alias(written))
        if version is None:
            return rows
        there = rows.columns
        lacks = [c for c in self.tables[name].columns if c.nullable and c.name not in there]
        return rows.withColumns({c.name: F.lit(None).cast(TYPES[c.type].spark) for c in lacks})

    def read_pinned(
        self, name: str, versions: Mapping[str, int], written: str | None = None
    ) -> DataFrame:
        """The table at its version among these, which have that of `instances` too."""
        return self.read(name, versions[name], versions.get(ASKED), written)

    def version(self, name: str) -> int:
        """The newest version of the table."""
        source = self.foreign(name)
        return logs.version(self.path(name)) if source is None else source.version()

    def has(self, name: str, version: int) -> bool:
        """Whether a version can still be read: its commits, and every file."""
        source = self.foreign(name)
        return (
            logs.is_whole(self.path(name), version) if source is None else source.is_whole(version)
        )

    def rows_by_date(
        self, name: str, version: int | None = None, asked: int | None = None
    ) -> dict[date, int]:
        """Rows of each event date, from the log's statistics alone; of a table elsewhere from its
        rows, where these do not say it."""
        return logs.counted(self.files(name, version, asked))

    def newest(self, name: str, version: int, column: str) -> datetime | None:
        """The largest moment in a column, from the log's statistics alone."""
        source = self.foreign(name)
        if source is not None:
            return source.newest(version, column)
        return logs.newest(self.path(name), version, column)

    def files(
        self, name: str, version: int | None = None, asked: int | None = None
    ) -> list[dict[str, Any]]:
        """Every data file of a version: path, rows, bytes and partition values, by path; of a table
        elsewhere, its files in parts of one event date."""
        source = self.foreign(name, asked)
        return logs.files(self.path(name), version) if source is None else source.parts(version)

    def append_once(self, rows: DataFrame, name: str, transaction: str) -> int:
        """Append unless `transaction` has been committed; the version that holds the rows.

        Raises ConflictError where another writer commits the transaction meanwhile.
        """
        writer = self._writer(rows, name, stamp=transaction).mode("append")
        _save(writer, transaction, 1, f"table {name}, transaction {transaction}")
        return self._holding(name, transaction)

    def append_numbered(
        self, rows: DataFrame, name: str, application: str, number: int
    ) -> Appended:
        """Append as transaction `number` of the application, if there is a row.

        For work that is repeated as more arrives: take `next_number` first, then look for what is
        new. Raises ConflictError where another run took the number meanwhile.
        """
        if rows.isEmpty():
            return Appended(0, self.version(name))
        stamp = f"{application}/{uuid.uuid4()}"
        what = f"table {name}, transaction {application}"
        _save(self._writer(rows, name, stamp).mode("append"), application, number, what)
        commit = self._commit(name, stamp)
        if commit is None:  # Spark skipped a number that was taken, without a word
            raise overtaken(what)
        return Appended(int(commit["operationMetrics"]["numOutputRows"]), int(commit["version"]))

    def replace_refresh(self, rows: DataFrame, name: str, refresh_id: str) -> int:
        """Replace the rows of one refresh, atomically; the version that holds the new ones.

        Raises ConflictError where another run writes the same refresh meanwhile.
        """
        # Taken before the look for rows: a run whose rows it does not see competes for this number.
        number, application = self.number_of(name, refresh_id), application_of(refresh_id)
        stamp = f"replace/{uuid.uuid4()}"
        writer = self._writer(rows, name, stamp)
        # Rows of an earlier number may come until the moment of the commit; those of `refreshes`
        # may not, because a claim took the number of their manifest.
        late = name != "refreshes" and number > 1
        if late or self.has_refresh(name, refresh_id):
            writer = writer.mode("overwrite").option("replaceWhere", f"refresh_id = '{refresh_id}'")
        else:  # nothing to replace: an append is cheaper, and conflicts with no other refresh
            writer = writer.mode("append")
        what = f"table {name}, refresh {refresh_id}"
        _save(writer, application, number, what)
        version = self.stamped(name, stamp)
        if version is None:  # the number was taken, and Spark skipped the write without a word
            raise overtaken(what)
        return version

    def number_of(self, name: str, refresh_id: str) -> int:
        """The number that this run's write of a refresh must bear on a table."""
        if self.claim is None or self.claim.refresh_id != refresh_id:
            return self.next_number(name, application_of(refresh_id))
        return self.claim.number + (name == "refreshes")

    def next_number(self, name: str, application: str) -> int:
        """The number that the application's next transaction on the table must bear."""
        return (Snapshot(self.path(name)).transaction_version(application) or 0) + 1

    def has_refresh(self, name: str, refresh_id: str, version: int | None = None) -> bool:
        """Whether the table holds rows of a refresh; a version of one that such rows partition."""
        if self.tables[name].partition_by == ("refresh_id",):
            files = self.files(name, version)
            return any(file["partition"]["refresh_id"] == refresh_id for file in files)
        return bool(read_manifests(self.path(name), refresh_id=refresh_id))

    def _writer(self, rows: DataFrame, name: str, stamp: str) -> DataFrameWriter:
        self.require_own(name)
        writer = rows.select(*self.tables[name].column_names).write.format("delta")
        return writer.option("userMetadata", stamp).option("path", for_spark(self.path(name)))

    def committed(self, name: str, transaction: str) -> int | None:
        """The version that holds what `transaction` appended, or None where it has not yet."""
        if Snapshot(self.path(name)).transaction_version(transaction) is None:
            return None
        return self._holding(name, transaction)

    def _holding(self, name: str, transaction: str) -> int:
        """The version that a committed `transaction` made.

        Spark skips a repeated transaction without a word, so the newest version may be somebody
        else's: the stamp in the commit says which one is ours. The table knows its transactions
        for longer than its commits; the newest version then stands for one that it has forgotten.
        """
        version = self.stamped(name, transaction)
        return self.version(name) if version is None else version

    def stamped(self, name: str, stamp: str) -> int | None:
        """The version whose commit carries `stamp`."""
        commit = self._commit(name, stamp)
        return None if commit is None else int(commit["version"])

    def _commit(self, name: str, stamp: str) -> dict[str, Any] | None:
        """The commit that carries `stamp`; the newest ones are tried first."""
        snapshot = Snapshot(self.path(name))
        for limit in (20, None):
            for commit in snapshot.history(limit):
                if commit.get("userMetadata") == stamp:
                    return commit
        return None


def application_of(refresh_id: str) -> str:
    """Under which all transactions of a refresh are numbered, on each table."""
    return f"refresh/{refresh_id}"


def _save(writer: DataFrameWriter, application: str, number: int, what: str) -> None:
    """Write as transaction `number` of the application; skipped where that one is committed.

    Raises ConflictError, naming `what`, where another writer wins.
    """
    try:
        writer.option("txnAppId", application).option("txnVersion", number).save()
    except CONFLICTS as error:
        raise overtaken(what) from error


def overtaken(what: str) -> ConflictError:
    """What a run is told whose write another one made impossible."""
    return ConflictError(
        f"{what}: another run changed the table meanwhile. Remedy: repeat the command when the"
        " other run has ended."
    )
