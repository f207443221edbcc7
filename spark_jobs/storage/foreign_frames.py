"""A foreign table as a DataFrame under our names and in our types; the twin of
`schemas.foreign_rows`."""

from datetime import timedelta

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from schemas.columns import TYPES
from schemas.foreign import ForeignTable
from schemas.foreign_commits import commit_moments
from schemas.foreign_files import files_of
from schemas.places import for_spark

WRITTEN = "_metadata.file_modification_time"
_FILE, _ASKED = "_tenforward_file", "_tenforward_asked"


def foreign_rows(
    spark: SparkSession,
    table: ForeignTable,
    version: int,
    asked: DataFrame | None,
    written: str | None = None,
) -> DataFrame:
    """The rows of a version. asked: of `instances`, where labels take their moments from there.
    written: a further column's name, for when the file of each row was written."""
    rows = _loaded(spark, table, version)
    kinds = {column.name: TYPES[column.type].spark for column in table.definition.columns}
    more = [] if written is None else [F.col(WRITTEN).alias(written)]
    if table.known == "commit":
        more.append(F.col("_metadata.file_name").alias(_FILE))
    stored = (
        F.col(f"`{theirs}`").cast(kinds.get(ours, "timestamp")).alias(ours)
        for ours, theirs in table.columns.items()
    )
    rows = rows.select(*stored, *more)
    if table.known == "commit":
        rows = rows.join(F.broadcast(_commits(spark, table, version)), _FILE, "left")
    names = [*table.definition.column_names, *([] if written is None else [written])]
    return _dated(table, rows, asked).select(*names)


def _dated(table: ForeignTable, rows: DataFrame, asked: DataFrame | None) -> DataFrame:
    """The rows with what is derived."""
    event: Column = F.col("event_time")
    if table.asks_instances:
        assert asked is not None  # whoever reads such labels brings the instances
        rows = rows.join(_moments(asked), "instance_id", "left")
        event = F.col(f"{_ASKED}.time")
    if isinstance(table.known, timedelta):
        rows = rows.withColumn("known_at", event + F.lit(table.known))
    if table.is_dated and "event_date" not in table.columns:
        day = event.cast("date")
        if table.asks_instances:  # a label of no instance has the date of when it became known
            day = F.coalesce(f"{_ASKED}.day", F.col("known_at").cast("date"))
        rows = rows.withColumn("event_date", day)
    return rows


def _moments(asked: DataFrame) -> DataFrame:
    """When each instance was asked; of an id on several rows the least."""
    moments = F.struct(F.min("event_time").alias("time"), F.min("event_date").alias("day"))
    known = asked.where("instance_id IS NOT NULL")
    return known.groupBy("instance_id").agg(moments.alias(_ASKED))


def _loaded(spark: SparkSession, table: ForeignTable, version: int) -> DataFrame:
    """The rows under their names, of a Delta version or of the files that Parquet's stands for."""
    if table.format == "delta":
        reader = spark.read.format("delta").option("versionAsOf", version)
        return reader.load(for_spark(table.place))
    files = [for_spark(file.place(table)) for file in files_of(table, version)]
    reader = spark.read.option("mergeSchema", value=True)  # an older file may lack a column
    return reader.option("basePath", for_spark(table.place)).parquet(*files)


def _commits(spark: SparkSession, table: ForeignTable, version: int) -> DataFrame:
    """When each file's rows were committed, as `known_at`, by the file's own name; of two folders
    that both have the name the later."""
    paths = {file.path for file in files_of(table, version)}
    latest = {"": 0}
    for path, moment in commit_moments(table, version, paths).items():
        name = path.rpartition("/")[2]
        latest[name] = max(moment, latest.get(name, moment))
    found = spark.createDataFrame(sorted(latest.items()), f"{_FILE} string, known_at long")
    return found.withColumn("known_at", F.timestamp_micros("known_at"))
