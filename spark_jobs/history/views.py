"""Faults of the feature views: keys, numbers, rows that contradict each other, freshness."""

from datetime import UTC, datetime, timedelta
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas import findings
from schemas.sections.check import DATED
from schemas.sections.section import parse_duration
from schemas.sections.store import FeatureView
from spark_jobs.candidates.rejects import content
from spark_jobs.history.data import Data, any_null, in_the_future, not_a_number
from spark_jobs.history.found import DAY, ID, KIND, RowFinding, examples, finding, named, row_faults
from spark_jobs.storage.settle import letting_go


def look(data: Data, view: FeatureView) -> list[RowFinding]:
    """Every finding about the rows of a view."""
    name = f"features/{view.name}"
    path, times = data.warehouse.path(name), [view.timestamp_field, view.created_timestamp_column]
    entity = F.concat_ws("/", *view.entity)
    rows = named(data.view(view), entity, F.to_date(view.timestamp_field))
    faults = {
        findings.NULL_KEY: any_null([*view.entity, *times]),
        findings.FUTURE: in_the_future(view.created_timestamp_column),
        findings.NAN: not_a_number({column: spec.type for column, spec in view.columns.items()}),
    }
    found = row_faults(rows, name, path, faults)
    with letting_go() as keep:
        differ = keep(_contradictions(rows, view).persist())
        count = differ.count()
        if count:
            few = examples(differ)[findings.CONTRADICTION]
            found.append(finding(findings.CONTRADICTION, name, path, count, **few))
    return found


def _contradictions(rows: DataFrame, view: FeatureView) -> DataFrame:
    """Each entity and moment whose rows differ."""
    key = [*view.entity, view.timestamp_field, view.created_timestamp_column]
    said = content(rows, list(view.columns)).alias("_said")
    apart = (
        rows.dropna(subset=key)
        .select(*key, ID, DAY, said)
        .groupBy(*key)
        .agg(
            (F.min("_said") != F.max("_said")).alias("_differ"),
            F.first(ID).alias(ID),
            F.first(DAY).alias(DAY),
        )
    )
    return apart.where("_differ").withColumn(KIND, F.lit(findings.CONTRADICTION))


def freshness(data: Data) -> tuple[dict[str, Any], list[RowFinding]]:
    """The newest moment of every view and of instances, records and labels; and those that are
    older than their limit: views at the newest instance, the others at the end of the range."""
    limits = data.pipeline.check.freshness
    wanted = {"instances", *limits}
    moments = {name: column for name, column in DATED.items() if name in wanted}
    newest = {name: _newest(data, name, column) for name, column in moments.items()}
    asked = newest["instances"]
    found: list[RowFinding] = []
    for name in limits.keys() & DATED.keys():
        found += _stale(data, name, limits[name], newest[name], data.cut)
    for view in data.pipeline.feature_views:
        name, limit = f"features/{view.name}", limits.get(view.name, view.ttl)
        newest[name] = _newest(data, name, view.timestamp_field)
        if limit is not None and asked is not None:
            found += _stale(data, name, limit, newest[name], asked)
    return {name: None if at is None else at.isoformat() for name, at in newest.items()}, found


def _newest(data: Data, name: str, column: str) -> datetime | None:
    """The newest moment by the cut, UTC."""
    rows = data.warehouse.read_pinned(name, data.versions).where(F.col(column) <= F.lit(data.cut))
    row = rows.agg(F.unix_micros(F.max(column))).first()
    return None if row is None or row[0] is None else _moment(row[0])


def _moment(micros: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


def _stale(
    data: Data, name: str, limit: str, newest: datetime | None, at: datetime
) -> list[RowFinding]:
    if newest is not None and at - newest <= parse_duration(limit):
        return []
    last = "no row" if newest is None else f"newest row {newest.isoformat()}"
    says = f"table whose {last} is more than {limit} older than {at.isoformat()}"
    return [finding(findings.STALE, name, data.warehouse.path(name), 1, says=says)]
