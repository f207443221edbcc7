"""A payload log's rows as one row a forward pass, on Spark: what `payload` says of each."""

import json
import math
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from schemas.sections.records import Log
from spark_jobs.imported.mapped import FAULT, LEFT_OUT, RECORD, as_json, quoted
from spark_jobs.imported.payload import OddError, Pass, Wanted, passes_of, value_of
from spark_jobs.imported.places import Places
from spark_jobs.storage.python_tasks import over_batches

_PLACE, _LEFT, _PLAIN = "tenforward_place", "tenforward_left", "tenforward_plain"
_LISTS = "numbers"
_WHOLE = {
    "ignoreNullFields": "false",
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
    "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS",
}


class _Layout(NamedTuple):
    """What an executor has to know. roots: the columns that the paths begin with, under the names
    that they bear on the way; plain: fields that are columns."""

    wanted: tuple[Wanted, ...]
    where: tuple[tuple[Wanted, str], ...]
    roots: dict[str, str]
    plain: tuple[str, ...]


def unfolded(rows: DataFrame, source: Log, places: Places) -> tuple[DataFrame, Log]:
    """The log's rows with a column a field, and its description by these; `FAULT`, where a row
    cannot be used for it; and `RECORD`: each as it came.

    Of a row of many the record is its own part, with its place. Where the id is that of the whole
    row, an instance is known by it and its place: `request-7/0`.
    """
    paths = [*places.paths, *(one for one, _ in places.where_paths)]
    roots = {one.path.column: f"root{n}" for n, one in enumerate(paths)}
    plain = as_json(*map(quoted, places.columns.values())) if places.columns else F.lit("{}")
    columns = [quoted(name).alias(field) for field, name in places.columns.items()]
    whole = rows.select(
        *columns,
        *(_json_of(rows, name).alias(root) for name, root in roots.items()),
        _left_out(places).alias(_LEFT),
        as_json("*").alias(RECORD),
        plain.alias(_PLAIN),
    )
    layout = _Layout(places.paths, places.where_paths, roots, tuple(places.columns))
    kinds = {field: whole.schema[field].dataType for field in places.columns}
    passes = over_batches(whole, partial(_passes, layout=layout), _form(layout, kinds))
    if places.many and not places.of_each("instance_id"):
        own = F.concat(F.col("instance_id").cast("string"), F.lit("/"), quoted(_PLACE))
        alone = F.col("instance_id").cast("string")
        known = F.when(quoted(_PLACE).isNull(), alone).otherwise(own)
        passes = passes.withColumn("instance_id", known)
    return passes.drop(quoted(_PLACE)), _by_fields(source)


def _json_of(rows: DataFrame, name: str) -> Column:
    """What the paths into a column are followed in, as bytes: its text, or its values as JSON."""
    if isinstance(rows.schema[name].dataType, T.StringType | T.BinaryType):
        return quoted(name).cast("binary")
    return F.to_json(quoted(name), _WHOLE).cast("binary")


def _left_out(places: Places) -> Column:
    same = F.lit(True)
    for name, value in places.where.items():
        same &= F.coalesce(quoted(name).cast("string") == value, F.lit(False))
    return ~same


def _by_fields(source: Log) -> Log:
    """The description of the unfolded rows: each field is a column of its name."""
    version = source.model_version
    if version.column is not None:
        version = version.model_copy(update={"column": "model_version"})
    return source._replace(
        instance_id="instance_id",
        event_time="event_time",
        recorded_at=None if source.recorded_at is None else "recorded_at",
        model_version=version,
        prediction=source.prediction.model_copy(update={"column": "prediction"}),
        segments=[f"segments[{place}]" for place in range(len(source.segments))],
        sketch=None if source.sketch is None else "sketch",
        propensity=None if source.propensity is None else "propensity",
        date=None if source.date is None else "date",
    )


def _form(layout: _Layout, kinds: dict[str, T.DataType]) -> T.StructType:
    lists = T.ArrayType(T.DoubleType())
    found = {one.field: lists if one.kind == _LISTS else T.StringType() for one in layout.wanted}
    form = T.StructType([T.StructField(name, kind) for name, kind in (kinds | found).items()])
    return form.add(_PLACE, T.IntegerType()).add(FAULT, T.StringType()).add(RECORD, T.StringType())


def _passes(batches: Iterable[pa.RecordBatch], *, layout: _Layout) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        rows = pa.Table.from_batches([batch])
        roots = {name: rows[root].to_pylist() for name, root in layout.roots.items()}
        left, whole, plain = (rows[name].to_pylist() for name in (_LEFT, RECORD, _PLAIN))
        owner: list[int] = []
        found: list[Pass] = []
        records: list[str | None] = []
        for number in range(rows.num_rows):
            row = {name: values[number] for name, values in roots.items()}
            for one in _of_row(row, layout, left_out=left[number]):
                owner.append(number)
                found.append(one)
                records.append(_record(one, whole[number], plain[number], layout))
        columns = {name: rows[name].take(pa.array(owner, pa.int64())) for name in layout.plain}
        for one_wanted in layout.wanted:
            kind = pa.list_(pa.float64()) if one_wanted.kind == _LISTS else pa.string()
            values = [one.values.get(one_wanted.field) for one in found]
            columns[one_wanted.field] = pa.array(values, kind)
        columns[_PLACE] = pa.array([one.place for one in found], pa.int32())
        columns[FAULT] = pa.array([one.fault for one in found], pa.string())
        columns[RECORD] = pa.array(records, pa.string())
        yield from pa.table(columns).combine_chunks().to_batches()


def _of_row(row: dict[str, Any], layout: _Layout, *, left_out: bool) -> list[Pass]:
    passes = passes_of(row, layout.wanted) if not left_out else [Pass({}, fault=LEFT_OUT)]
    for one, wanted in layout.where if not left_out else ():
        try:
            other = value_of(row, one) != wanted
        except OddError as odd:
            return [Pass(passes[0].values, None, odd.reason, f"records.{one.field}: {odd}")]
        if other:
            return [Pass(passes[0].values if len(passes) == 1 else {}, fault=LEFT_OUT)]
    return passes


def _record(one: Pass, whole: str, plain: str, layout: _Layout) -> str | None:
    """The row as it came, with why it cannot be used; of one of many its own part and its place."""
    if one.fault == LEFT_OUT:
        return None
    more: dict[str, Any] = {} if one.why is None else {"why": one.why}
    if one.place is None:
        return _with(whole, more)
    more |= {"place": one.place}
    more |= {w.path.text: one.values.get(w.field) for w in layout.wanted}
    return _with(plain, more)


def _with(text: str, more: dict[str, Any]) -> str:
    """A JSON object with further entries, in front."""
    if not more:
        return text
    given = {name: _plainly(value) for name, value in more.items()}
    head, tail = json.dumps(given, ensure_ascii=False)[:-1], text[1:]
    return f"{head}{'' if tail == '}' else ','}{tail}"


def _plainly(value: Any) -> Any:
    """Numbers that JSON has not as text."""
    if isinstance(value, list):
        return [_plainly(one) for one in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
