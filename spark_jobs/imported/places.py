"""Where in a log each field of `[records]` stands: in a column, or at a place in one."""

from collections.abc import Mapping
from typing import NamedTuple

from pyspark.sql import types as T

from schemas.errors import ConfigurationError
from schemas.sections.records import Log
from spark_jobs.imported.kinds import NAMED, ColumnKind, columns_of
from spark_jobs.imported.paths import Path, parse
from spark_jobs.imported.payload import Wanted

_NEEDED = ("instance_id", "event_time", "model_version", "prediction")
LINE = "value"  # the column of a log of JSON, a line a row
# What has values in it, as a struct or as JSON.
_HOLD = (T.StructType, T.ArrayType, T.MapType, T.StringType, T.BinaryType)


class Places(NamedTuple):
    """Where each field of `[records]` is: the column, or a place in one."""

    columns: Mapping[str, str]
    paths: tuple[Wanted, ...]
    where: Mapping[str, str]  # of columns, the values of rows that are forward passes
    where_paths: tuple[tuple[Wanted, str], ...]  # the same of places

    @property
    def nested(self) -> bool:
        """Whether there is more to read than columns."""
        return bool(self.paths or self.where or self.where_paths)

    @property
    def many(self) -> bool:
        """Whether a row is many forward passes."""
        return any(one.path.many for one in self.paths)

    def of_each(self, field: str) -> bool:
        """Whether each of the many has a value of its own of the field."""
        return any(one.path.many for one in self.paths if one.field == field)


def places_of(schema: T.StructType, source: Log) -> Places:
    """Where the fields are in a log of this schema.

    Raises ConfigurationError, which names the column, the type found and the type wanted, for a log
    that lacks a column or has one of another type, and for a place that cannot be one.
    """
    columns, paths = {}, []
    for field, (name, kind) in columns_of(source).items():
        path = _path(schema, source, field, name)
        if path is None:
            _require_kind(schema, field, name, kind)
            columns[field] = name
        else:
            paths.append(Wanted(field, path, kind.value, field not in _NEEDED))
    where, where_paths = {}, []
    for name, value in source.where.items():
        path = _path(schema, source, f"where.{name}", name)
        if path is None:
            _require_kind(schema, f"where.{name}", name, NAMED)
            where[name] = value
        else:
            where_paths.append((Wanted(f"where.{name}", path, NAMED.value, True), value))
    places = Places(columns, tuple(paths), where, tuple(where_paths))
    _require_each(places, source)
    return places


def _path(schema: T.StructType, source: Log, field: str, name: str) -> Path | None:
    """A name as a place in a column; None where it is the name of a column."""
    json = source.format == "json"
    if name in schema.names and not (json and name == LINE):
        return None
    told = f"the log has no such column; it has {', '.join(schema.names)}"
    try:
        path = parse(name)
    except ValueError as error:
        raise _refused(field, name, f"{told}, and it is no place in one: {error}", "name") from None
    if json:
        return path._replace(column=LINE, steps=(path.column, *path.steps))
    if path.column not in schema.names or not path.steps:
        raise _refused(field, name, told, "name")
    kind = schema[path.column].dataType
    if not isinstance(kind, _HOLD):
        holds = f"the column {path.column!r} is {kind.simpleString().upper()}, which holds nothing"
        raise _refused(field, name, holds, "name")
    return path


def _refused(field: str, name: str, what: str, remedy: str) -> ConfigurationError:
    remedy = "correct the name" if remedy == "name" else remedy
    return ConfigurationError(f"records.{field} = {name!r}: {what}. Remedy: {remedy}.")


def _require_kind(schema: T.StructType, field: str, name: str, kind: ColumnKind) -> None:
    found = schema[name].dataType
    if not kind.fits(found) and not isinstance(found, T.NullType):
        has = f"the log has {found.simpleString().upper()}, wanted is {kind.wanted}"
        raise _refused(field, name, has, kind.remedy)


def _require_each(places: Places, source: Log) -> None:
    """Refuse one prediction for many instances, and a condition that holds of some of a row."""
    each = next((one for one in places.paths if one.path.many), None)
    if each is not None and not places.of_each("prediction"):
        told = f"one value, where {each.path.text!r} makes a row many forward passes"
        raise _refused("prediction", source.prediction.column, told, "write [] where the list is")
    for one, _ in places.where_paths:
        if one.path.many:
            told = "many values of a row, of which none says whether it is forward passes"
            raise _refused(one.field, one.path.text, told, "name one value of the row")
