"""The as-of join: what each feature view knew about an instance at its event time.

A view row is usable from the moment when it both holds and is known, the later of its timestamp
and its created timestamp. Views and instances are laid on one time line for each entity, and a
running maximum of (timestamp, created, values) along it is the newest usable row at every
instance: the winner is the maximum of the usable rows, so the order in which they became usable
does not matter. The ttl is checked after: where the newest is too old, so are the others.
"""

from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from schemas.encoding import Encoding, encoding_of
from schemas.errors import ConfigurationError
from schemas.pipeline import Pipeline
from schemas.sections.section import parse_duration
from schemas.sections.store import FeatureView
from spark_jobs.features.encoding import encode
from spark_jobs.storage.refused import refuse
from spark_jobs.storage.warehouse import Warehouse

INSTANCES = "instances"


def with_features(
    warehouse: Warehouse,
    instances: DataFrame,
    versions: Mapping[str, int] | None = None,
    encoding: Encoding | None = None,
) -> DataFrame:
    """`instance_id`, `event_time` and one encoded column for each feature.

    instances: rows of the table `instances`, with at least its entity keys and feature columns.
    versions: table versions to read (`features/<view>`), the newest where not given. encoding: a
    model's own; None for that of the pipeline.
    Only the views and columns that a feature names are read, and only their rows that the span of
    the event times can need; a small job finds that span.
    """
    encoding = encoding or encoding_of(warehouse.pipeline)
    used = columns_used(encoding)
    views = encoding.feature_views
    keys = {name for view in views for name in view.entity}
    asked = instances.select(
        "instance_id", "event_time", *sorted(keys | used.get(INSTANCES, set()))
    )
    span = _span(asked) if views else None
    known = []
    for view in views:
        name = f"features/{view.name}"
        times = (view.timestamp_field, view.created_timestamp_column)
        rows = warehouse.read(name, (versions or {}).get(name))
        rows = rows.select(*view.entity, *times, *sorted(used[view.name]))
        known.append((view, _within(rows, view, span)))
    joined = as_of_joins(asked, known)
    encoded = [
        encode(F.col(f"{table}.{column}"), _type(joined, table, column), feature).alias(name)
        for name, feature in encoding.features.items()
        for table, column in [encoding.feature_source(name)]
    ]
    return joined.select(f"{INSTANCES}.instance_id", f"{INSTANCES}.event_time", *encoded)


def columns_used(features: Pipeline | Encoding) -> dict[str, set[str]]:
    """The columns that the features are read from, by table: `instances` or a view's name."""
    used: dict[str, set[str]] = {}
    for name in features.features:
        table, column = features.feature_source(name)
        used.setdefault(table, set()).add(column)
    return used


def as_of_joins(instances: DataFrame, views: Sequence[tuple[FeatureView, DataFrame]]) -> DataFrame:
    """One row an instance: a struct `instances`, and one named for each view with its columns.

    For every instance and view the newest row by timestamp, then by created, then by the values
    in column order (null below any value), among those with the instance's entity, with timestamp
    and created at or before `event_time` and with timestamp after `event_time` - ttl. Null where
    there is none and where any part of the entity is null.

    No instance is lost or multiplied. An `instance_id` that stands twice fails the query: which
    of the two rows was meant is not for a join to say. Two shuffles, however many the views.
    """
    _require_entities(instances, [view for view, _ in views])
    line = _asked(instances, [view for view, _ in views])
    for index, (view, rows) in enumerate(views):
        line = line.unionByName(_known(rows, index, view), allowMissingColumns=True)
    fields = ["_timestamp", "_created", *(_slot(index) for index in range(len(views)))]
    so_far = Window.partitionBy("_view", "_entity", "_alone").orderBy("_moment")
    so_far = so_far.rangeBetween(Window.unboundedPreceding, Window.currentRow)
    usable = F.when(F.col("_timestamp").isNotNull(), F.struct(*fields))
    newest = line.withColumn("_newest", F.max(usable).over(so_far)) if views else line
    return (
        newest.where("_asked")
        .groupBy("_id")
        .agg(
            _only_row().alias(INSTANCES),
            *(_answer(index, view).alias(view.name) for index, (view, _) in enumerate(views)),
        )
        .drop("_id")
    )


def _asked(instances: DataFrame, views: Sequence[FeatureView]) -> DataFrame:
    """Each instance once a view, at its event time; the instance's own columns only once."""
    places = [
        F.struct(F.lit(index).alias("_view"), _entity(view).alias("_entity"))
        for index, view in enumerate(views)
    ] or [F.struct(F.lit(0).alias("_view"), F.lit("").alias("_entity"))]
    unknown = F.col("_place._entity").isNull()
    return instances.select("*", F.explode(F.array(*places)).alias("_place")).select(
        F.lit(True).alias("_asked"),
        F.col("instance_id").alias("_id"),
        "_place._view",
        "_place._entity",
        # Nothing matches a null key: each such instance stands alone, so that none of them meets
        # a view row and no task gets them all.
        F.when(unknown, F.col("instance_id")).alias("_alone"),
        F.col("event_time").alias("_moment"),
        F.when(F.col("_place._view") == 0, F.struct(*instances.columns)).alias("_row"),
    )


def _known(rows: DataFrame, index: int, view: FeatureView) -> DataFrame:
    """The rows of a view, each at the moment when it becomes usable."""
    timestamp, created = F.col(view.timestamp_field), F.col(view.created_timestamp_column)
    keys = {*view.entity, view.timestamp_field, view.created_timestamp_column}
    values = [name for name in rows.columns if name not in keys]
    return rows.dropna(subset=sorted(keys)).select(
        F.lit(False).alias("_asked"),
        F.lit(index).alias("_view"),
        _entity(view).alias("_entity"),
        F.greatest(timestamp, created).alias("_moment"),
        timestamp.alias("_timestamp"),
        created.alias("_created"),
        F.struct(*values).alias(_slot(index)),
    )


def _entity(view: FeatureView) -> Column:
    """The entity as one string, null where a part is: arrays would be compared item by item."""
    parts = [F.col(name).cast("string") for name in view.entity]
    if len(parts) == 1:
        return parts[0]
    # Each part after its length, so that ("a", "bc") and ("ab", "c") stay apart.
    return F.concat(*(F.concat(F.length(part), F.lit(":"), part) for part in parts))


def _slot(index: int) -> str:
    """Where the values of view number `index` stand on the time line."""
    return f"_values_{index}"


def _answer(index: int, view: FeatureView) -> Column:
    """The newest row of one view, unless it is older than the ttl."""
    wanted = F.col("_view") == index
    if view.ttl is not None:
        oldest = F.col("_moment") - F.lit(parse_duration(view.ttl))
        wanted &= F.col("_newest._timestamp") > oldest
    return F.max(F.when(wanted, F.col(f"_newest.{_slot(index)}")))


def _only_row() -> Column:
    """The instance's own columns; fails the query where the id stands more than once."""
    twice = F.concat(
        F.lit("table instances, instance_id = "),
        F.col("_id"),
        F.lit(": more than one row. Remedy: keep one row an instance."),
    )
    return F.when(F.count("_row") > 1, refuse(twice)).otherwise(F.first("_row", ignorenulls=True))


def _require_entities(instances: DataFrame, views: Sequence[FeatureView]) -> None:
    for view in views:
        missing = [name for name in view.entity if name not in instances.columns]
        if missing:
            raise ConfigurationError(
                f"feature_views.{view.name}.entity = {missing[0]!r}: not a column of the instances."
                " Remedy: add it to [instances.columns], or correct the entity."
            )


def _span(instances: DataFrame) -> tuple[int, int] | None:
    """First and last event time, microseconds since 1970 UTC; None where there is no row."""
    # As numbers: a timestamp would come back in the driver's time zone, without saying so.
    first, last = (F.unix_micros(end("event_time")) for end in (F.min, F.max))
    row = instances.agg(first, last).first()
    return None if row is None or row[0] is None else (row[0], row[1])


def _within(rows: DataFrame, view: FeatureView, span: tuple[int, int] | None) -> DataFrame:
    """The view's rows that an event time within `span` could take."""
    if span is None:
        return rows
    first, last = (F.timestamp_micros(F.lit(micros)) for micros in span)
    timestamp, created = F.col(view.timestamp_field), F.col(view.created_timestamp_column)
    rows = rows.where((timestamp <= last) & (created <= last))
    if view.ttl is not None:
        rows = rows.where(timestamp > first - F.lit(parse_duration(view.ttl)))
    return rows


def _type(joined: DataFrame, table: str, column: str) -> T.DataType:
    struct = joined.schema[table].dataType
    assert isinstance(struct, T.StructType)
    return struct[column].dataType
