"""What a source hands over, against its tables: the types, and the rows that are there already."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from pandas.api import types as pdt
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.columns import TYPES, Column, ColumnType
from schemas.errors import ConfigurationError, DataQualityError

NAMED = 5  # rows in a message

# What Arrow would make another thing of without a word: a number of milliseconds a moment of 1970,
# a flag a number, a number a flag. Columns of Python's objects are looked at one by one by Arrow.
_TAKEN: dict[ColumnType, tuple[str, ...]] = {
    "string": ("object", "string"),
    "bool": ("object", "bool"),
    "int32": ("object", "int", "float"),  # whole numbers beside nulls are floats to pandas
    "int64": ("object", "int", "float"),
    "float32": ("object", "int", "float"),
    "float64": ("object", "int", "float"),
    "date": ("object", "time"),
    "timestamp": ("object", "time"),
    "strings": ("object",),
    "floats": ("object",),
}


def require_kind(table: str, column: Column, values: "pd.Series[Any]") -> None:
    """Refuse a column whose type is not that of its definition: ConfigurationError.

    A column of nothing but nulls has any type.
    """
    found = _kind(values)
    if found in _TAKEN[column.type] or values.isna().all():
        return
    raise ConfigurationError(
        f"table {table}, column {column.name}: the source has {values.dtype}, wanted is"
        f" {TYPES[column.type].spark}. Remedy: correct the column's type in the pipeline file, or"
        " convert it in the source."
    )


def _kind(values: "pd.Series[Any]") -> str:
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        dtype = dtype.categories.dtype
    if pdt.is_bool_dtype(dtype):
        return "bool"
    if pdt.is_integer_dtype(dtype):
        return "int"
    if pdt.is_float_dtype(dtype):
        return "float"
    if pdt.is_datetime64_any_dtype(dtype):
        return "time"
    return "object" if pdt.is_object_dtype(dtype) else str(dtype).partition("[")[0]


def new_rows(rows: DataFrame, there: DataFrame, keys: Sequence[str], name: str) -> DataFrame:
    """The rows whose key the table `name` does not have yet.

    Raises DataQualityError where it has one and says something else of it: what is there stays.
    """
    said = [column for column in rows.columns if column not in keys]
    says = F.xxhash64(*said, *(F.isnull(column).cast("int") for column in said))
    known = there.withColumn("_said", says).groupBy(*keys).agg(F.collect_set("_said").alias("_all"))
    joined = rows.withColumn("_says", says).join(known, on=list(keys), how="left")
    differ = F.col("_all").isNotNull() & ~F.array_contains("_all", F.col("_says"))
    some = joined.where(differ).select(*keys).limit(NAMED).collect()
    if some:
        which = "; ".join(", ".join(f"{key} = {row[key]}" for key in keys) for row in some)
        raise DataQualityError(
            f"table {name}: the source says something else than before of {which}. Remedy: correct"
            " the source, or delete these rows of the table and ingest them again; a correction of"
            " a label or a feature is a row with a later moment."
        )
    return joined.where(F.col("_all").isNull()).select(*rows.columns)
