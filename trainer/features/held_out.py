"""The held-out rows of a refresh, encoded for a model whose bundle has an encoding of its own."""

from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable as Snapshot
from deltalake.exceptions import DeltaError
from numpy.typing import NDArray

from inference.encoding import encode_column
from schemas.bundle import ModelCard
from schemas.encoding import INSTANCES, Encoding, encoding_of
from schemas.errors import ConfigurationError, DataQualityError
from schemas.foreign_source import ForeignSource, foreign_source
from schemas.inputs import stack_inputs
from schemas.log import log
from schemas.manifests import Inputs
from schemas.pipeline import Pipeline
from schemas.places import within
from schemas.sections.store import FeatureView
from schemas.stored import stored
from trainer.data.refresh import Refresh, no_longer_read
from trainer.features.as_of import Key, micros, newest, ttl_micros

Columns = dict[str, NDArray[Any]]
_MOMENT = pa.timestamp("us", tz="UTC")


class Source(NamedTuple):
    """Where rows are read anew: the tables of a pipeline, as a refresh has pinned them."""

    warehouse: str
    refresh: Refresh
    pipeline: Pipeline


def inputs_for(
    card: ModelCard, pipeline: Pipeline, source: Source, columns: Columns
) -> tuple[NDArray[Any], ...]:
    """What the model of a card takes for the held-out rows, each (n, ...), in their order.

    columns: the rows as the refresh has them, by feature. What the card encodes otherwise is read
    from the feature store again, point in time, at the versions that the refresh read.

    Raises ConfigurationError where these are not there any more, DataQualityError where an instance
    is gone.
    """
    refresh, encoding = source.refresh, card.encoding_in(pipeline)
    own = refresh.encoding or encoding_of(pipeline)
    other = [
        feature.name
        for feature in card.features
        if feature.name not in columns or not own.alike(encoding, feature.name)
    ]
    if other:
        log.info("held-out rows are encoded for another model as well: %s", ", ".join(other))
        columns = columns | encoded(encoding.only(other), source)
    return stack_inputs(card.features, columns)


def encoded(encoding: Encoding, source: Source) -> Columns:
    """The features of an encoding for the held-out rows."""
    inputs = source.refresh.inputs
    if inputs is None or INSTANCES not in inputs.versions:
        raise _gone(source.refresh, f"its manifest names no version of {INSTANCES}")
    ids = _ids(source.refresh)
    asked = _instances(encoding, source, inputs, ids)
    tables = {INSTANCES: asked}
    for view in encoding.feature_views:
        tables[view.name] = _joined(view, source, inputs, asked)
    return {
        name: encode_column(name, tables[table][column], feature)
        for name, feature in encoding.features.items()
        for table, column in [encoding.feature_source(name)]
    }


def _ids(refresh: Refresh) -> pa.ChunkedArray:
    """The instances of the held-out rows by position."""
    names = ["position", "instance_id"]
    try:
        parts = [pq.read_table(f.path, columns=names, partitioning=None) for f in refresh.holdout]
    except (OSError, pa.ArrowException) as error:
        raise no_longer_read(refresh.refresh_id, error) from error
    if not parts:
        return pa.chunked_array([], pa.string())
    return pa.concat_tables(parts).sort_by("position")["instance_id"].cast(pa.string())


def _instances(
    encoding: Encoding, source: Source, inputs: Inputs, ids: pa.ChunkedArray
) -> pa.Table:
    """The rows of `instances` with these ids, in their order: what the features and keys need."""
    keys = {key for view in encoding.feature_views for key in view.entity}
    columns = {column for table, column in _sources(encoding) if table == INSTANCES}
    wanted = ["instance_id", "event_time", *sorted(keys | columns)]
    days = [("event_date", ">=", str(inputs.window_start)), ("event_date", "<=", source.refresh.ds)]
    rows = _read(source, INSTANCES, wanted, pc.field("instance_id").isin(ids), days)
    place = {one: number for number, one in enumerate(rows["instance_id"].to_pylist())}
    lost = [one for one in ids.to_pylist() if one not in place]
    if lost:
        raise DataQualityError(
            f"refresh {source.refresh.refresh_id}: held-out instance {lost[0]} and"
            f" {len(lost) - 1} more are not in the version of {INSTANCES} that it read. Remedy: run"
            " `tenforward select --force` for its date, and train on that."
        )
    return rows.take(pa.array([place[one] for one in ids.to_pylist()], pa.int64()))


def _joined(view: FeatureView, source: Source, inputs: Inputs, asked: pa.Table) -> pa.Table:
    """The columns of a view for each instance, null where nothing was known."""
    keys: list[Key | None] = [
        None if None in parts else tuple(map(str, parts))
        for parts in zip(*(asked[name].to_pylist() for name in view.entity), strict=True)
    ]
    moments: list[int] = [moment for moment in micros(asked["event_time"]) if moment is not None]
    columns = [*view.entity, view.timestamp_field, view.created_timestamp_column]
    wanted = [*columns, *sorted(view.columns)]
    first = sorted({key[0] for key in keys if key is not None})
    asks = pc.field(view.entity[0]).isin(pa.array(first, pa.string()))
    if moments:
        asks &= _within(view, min(moments), max(moments))
    rows = _read(source, f"features/{view.name}", wanted, asks)
    places = pa.array(newest(view, keys, moments, rows), pa.int64())
    return rows.take(places)


def _within(view: FeatureView, first: int, last: int) -> pc.Expression:
    """The rows that an event time from `first` to `last` could take."""
    timestamp, created = pc.field(view.timestamp_field), pc.field(view.created_timestamp_column)
    asks = (timestamp <= _moment(last)) & (created <= _moment(last))
    ttl = ttl_micros(view)
    return asks if ttl is None else asks & (timestamp > _moment(first - ttl))


def _moment(at: int) -> pa.Scalar:
    return pa.scalar(at, pa.int64()).cast(_MOMENT)


def _sources(encoding: Encoding) -> list[tuple[str, str]]:
    return [encoding.feature_source(name) for name in encoding.features]


def _read(
    source: Source,
    name: str,
    columns: Sequence[str],
    asks: pc.Expression,
    partitions: list[tuple[str, str, str]] | None = None,
) -> pa.Table:
    """Rows of a table at the version that the refresh read. Raises ConfigurationError where the
    version, a file or a column is gone."""
    refresh, inputs = source.refresh, source.refresh.inputs
    version = None if inputs is None else inputs.versions.get(name)
    if version is None:  # a view that the pipeline did not have any more: the store as it is
        log.warning("%s is read as it is now: the refresh pins no version of it", name)
    elsewhere = foreign_source(source.pipeline, source.warehouse, name)
    if elsewhere is not None:
        lacking = [one for one in columns if one not in elsewhere.table.definition.column_names]
        if lacking:
            raise _gone(refresh, f"the pipeline file maps no column {', '.join(lacking)} of {name}")
        return _read_elsewhere(elsewhere, version, columns, asks, partitions)
    try:
        snapshot = Snapshot(within(source.warehouse, name), version=version)
        there = pa.schema(snapshot.schema().to_arrow())
        lacking = [column for column in columns if column not in there.names]
        if lacking:
            raise _gone(refresh, f"{name} has no column {', '.join(lacking)}")
        schema = pa.schema([_plain(there.field(column)) for column in columns])
        rows = stored(snapshot, schema, partitions)
        return schema.empty_table() if rows is None else rows.to_table(filter=asks)
    except (DeltaError, OSError, pa.ArrowException) as error:
        raise _gone(refresh, f"version {version} of {name} cannot be read ({error})") from error


def _read_elsewhere(
    source: ForeignSource,
    version: int | None,
    columns: Sequence[str],
    asks: pc.Expression,
    days: list[tuple[str, str, str]] | None,
) -> pa.Table:
    """Of a table that is somebody else's, a file at a time, of which only these rows are kept."""
    wanted = list(dict.fromkeys([*columns, *(["event_date"] if days else [])]))
    for name, comparison, day in days or ():
        bound = pa.scalar(date.fromisoformat(day))
        of = pc.field(name)
        asks &= of >= bound if comparison == ">=" else of <= bound
    definition = source.table.definition.arrow_schema
    schema = pa.schema([definition.field(column).with_nullable(True) for column in wanted])
    found = (rows.cast(schema).filter(asks) for rows in source.rows(wanted, version))
    return pa.concat_tables([schema.empty_table(), *found]).select(list(columns))


def _plain(field: pa.Field) -> pa.Field:
    """A column in a type that pyarrow 14 computes with; moments with their zone."""
    if pa.types.is_timestamp(field.type):
        return pa.field(field.name, _MOMENT)
    if "string" in str(field.type) and not pa.types.is_nested(field.type):
        return pa.field(field.name, pa.string())
    return pa.field(field.name, field.type)


def _gone(refresh: Refresh, what: str) -> ConfigurationError:
    return ConfigurationError(
        "features: the champion was trained on other features, and the held-out rows of refresh"
        f" {refresh.refresh_id} cannot be encoded for it: {what}. Remedy: select the day again"
        " (`tenforward select --force`), or start a new line of models with --model NAME."
    )
