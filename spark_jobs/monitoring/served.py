"""What models served, as DataFrames: records with the labels that count, and their sums.

The rows of a table are read once for the days and once for the reference before them; each record
becomes a few numbers (`monitoring.measure`), and these are added up by day, model version, segment
level and bin. What leaves Spark is as large as the levels are many, whatever the tables hold.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import NamedTuple

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

from schemas.rules import Rules, rules_of
from spark_jobs.candidates.narrow import in_window, labels_as_of
from spark_jobs.candidates.rejects import content, record_fault
from spark_jobs.candidates.spark_maturity import counted
from spark_jobs.features.segments import segment_keys, with_keys_of
from spark_jobs.monitoring import moved
from spark_jobs.monitoring.figures import SUMS
from spark_jobs.monitoring.levels import ALL, LEVEL_ROWS, level_rows
from spark_jobs.monitoring.measure import KEPT, MEASURED, NUMBERS, measured
from spark_jobs.refresh.defined import segments_changed
from spark_jobs.refresh.registered import Models
from spark_jobs.storage.python_tasks import over_batches
from spark_jobs.storage.warehouse import Warehouse

TABLES = ("forward_records", "labels", "instances")


class Span(NamedTuple):
    """The days to look at, both included, as known at a cut, and the versions of the tables."""

    start: date
    end: date
    cut: datetime
    versions: Mapping[str, int]

    @property
    def first(self) -> date:
        """The first day of the reference."""
        return self.start - moved.REFERENCE


def rows_of(warehouse: Warehouse, name: str, span: Span, start: date) -> DataFrame:
    """The rows of a table from the event date `start` on."""
    return in_window(warehouse.read_pinned(name, span.versions), start, span.end)


def usable_records(warehouse: Warehouse, span: Span, models: Models) -> DataFrame:
    """The records of the span and its reference that selection would take, with the segment keys
    that the pipeline file declares."""
    pipeline, first = warehouse.pipeline, span.first
    rows = rows_of(warehouse, "forward_records", span, first)
    changed = segments_changed(pipeline, warehouse.root, first)
    rules = rules_of(pipeline, models.accepted, any_segments=changed)
    sound = rows.where(record_fault(rules.record).isNull())
    if not changed:
        return sound
    instances = rows_of(warehouse, "instances", span, first)
    return with_keys_of(instances, sound, pipeline.instances.segments)


_READ = (*KEPT, "event_time", "prediction", "logits", "statistics")


def answers(warehouse: Warehouse, records: DataFrame, span: Span, models: Models) -> DataFrame:
    """The first record of each instance and model version, measured: `measure.MEASURED`. It is what
    was served; a later one is a repetition. Labels count in the days of the span alone."""
    pipeline = warehouse.pipeline
    task, learnt_until = pipeline.task, dict(models.learnt_until)
    moment = F.unix_micros("recorded_at")
    read = [F.col(name) for name in _READ if name != "model_version"]
    row = F.struct(*read, moment.alias("recorded_at"))
    earliest = F.struct(moment, F.xxhash64("batch_id"), content(records))
    # The one shuffle of the wide rows serves the first of each as well as the join with labels.
    first = records.repartition("instance_id").groupBy("instance_id", "model_version")
    asked = first.agg(F.min_by(row, earliest).alias("row"))
    asked = asked.select("instance_id", "model_version", "row.*")
    known = _labels(warehouse, span, rules_of(pipeline))
    labelled = counted(asked, known, pipeline.labels, span.cut)
    in_span = F.when(F.col("event_date") >= F.lit(span.start), F.col("label"))
    wanted = labelled.select(*_READ, "recorded_at", in_span.alias("label"))

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            rows = measured(pa.Table.from_batches([batch]), task, learnt_until)
            yield from rows.combine_chunks().to_batches()

    return over_batches(wanted, run, _form(MEASURED))


def _labels(warehouse: Warehouse, span: Span, rules: Rules) -> DataFrame:
    labels = rows_of(warehouse, "labels", span, span.start)
    return labels_as_of(labels, warehouse.pipeline.labels.known_as, span.cut, rules)


def _levels(names: Sequence[str], keys: Column) -> Column:
    """A row for each segment key of a record, and one for all of it: (segment, level)."""
    own = [
        F.struct(
            F.lit(name).alias("segment"),
            F.coalesce(F.get(keys, F.lit(at)), F.lit("")).alias("level"),
        )
        for at, name in enumerate(names)
    ]
    return F.array(F.struct(F.lit(ALL).alias("segment"), F.lit(ALL).alias("level")), *own)


def by_level(rows: DataFrame, names: Sequence[str]) -> DataFrame:
    """Each row once for every level that it belongs to, in columns `segment` and `level`."""
    columns = [name for name in rows.columns if name != "segments"]
    placed = rows.select(*columns, F.explode(_levels(names, F.col("segments"))).alias("place"))
    return placed.select(*columns, "place.segment", "place.level")


def binned(measured_rows: DataFrame, names: Sequence[str]) -> DataFrame:
    """`figures.SUMS` by event date, model version, segment, level and bin."""
    known = F.col("loss").isNotNull()
    of = {name: F.when(known, F.col(name)) for name in NUMBERS}
    gap = of["loss"] - of["expected"]
    added: dict[str, Column] = {
        "records": F.lit(1.0),
        "expected": F.col("expected"),
        "matured": F.when(known, 1.0),
        "loss": of["loss"],
        "loss_loss": of["loss"] * of["loss"],
        "matured_expected": of["expected"],
        "gap_gap": gap * gap,
        "predicted": of["predicted"],
        "observed": of["observed"],
        "predicted_predicted": of["predicted"] * of["predicted"],
        "predicted_observed": of["predicted"] * of["observed"],
        "observed_observed": of["observed"] * of["observed"],
    }
    cell = ("event_date", "model_version", "segment", "level", "bin")
    sums = (F.coalesce(F.sum(added[name]), F.lit(0.0)).alias(name) for name in SUMS)
    return by_level(measured_rows.drop("sketch"), names).groupBy(*cell).agg(*sums)


def levels(measured_rows: DataFrame, warehouse: Warehouse, span: Span) -> pa.Table:
    """`levels.LEVEL_ROWS` of every day, the reference included."""
    pipeline = warehouse.pipeline
    rows = binned(measured_rows, pipeline.instances.segments)
    task, confidence, start = pipeline.task, pipeline.gate.confidence, span.start

    def run(rows: pa.Table) -> pa.Table:
        return level_rows(rows, task, confidence, start)

    return rows.groupBy("segment", "level").applyInArrow(run, _form(LEVEL_ROWS)).toArrow()


def sketch_sums(measured_rows: DataFrame) -> pa.Table:
    """event_date, model_version, place, count, sum, squares of each number of the sketches."""
    numbers = measured_rows.select(
        "event_date", "model_version", F.posexplode("sketch").alias("place", "number")
    )
    value = F.col("number").cast("double")
    return (
        numbers.groupBy("event_date", "model_version", "place")
        .agg(
            F.count("number").alias("count"),
            F.sum(value).alias("sum"),
            F.sum(value * value).alias("squares"),
        )
        .toArrow()
    )


def coverage(warehouse: Warehouse, records: DataFrame, span: Span) -> pa.Table:
    """event_date, segment, level, instances, recorded: of the days of the span."""
    names = warehouse.pipeline.instances.segments
    asked = (
        rows_of(warehouse, "instances", span, span.start)
        .where("instance_id IS NOT NULL")
        .select("instance_id", "event_date", segment_keys(names).alias("segments"))
        .dropDuplicates(["instance_id"])
    )
    of_days = in_window(records, span.start, span.end)
    answered = of_days.select("instance_id", F.lit(1).alias("answered")).distinct()
    rows = by_level(asked.join(answered, "instance_id", "left"), names)
    return (
        rows.groupBy("event_date", "segment", "level")
        .agg(F.count("*").alias("instances"), F.count("answered").alias("recorded"))
        .toArrow()
    )


def _form(schema: pa.Schema) -> StructType:
    form: StructType = from_arrow_schema(schema)
    return form
