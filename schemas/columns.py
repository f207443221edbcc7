"""What a column and a table are, and the three forms that derive from one definition.

A `Table` is written once, in `schemas/tables.py`. Its Spark form is a DDL string, its Arrow form
a `pyarrow.Schema`, its reader form a dictionary of NumPy types, for Petastorm batches.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from schemas.bounds import LARGEST, LARGEST_SQL, LEAST_CHANCE

ColumnType = Literal[
    "string",
    "bool",
    "int32",
    "int64",
    "float32",
    "float64",
    "date",
    "timestamp",
    "strings",
    "floats",
]


class Forms(NamedTuple):
    """One type in Spark's DDL, in Arrow and, where a tensor can hold it, in NumPy."""

    spark: str
    arrow: pa.DataType
    numpy: np.dtype[Any] | None


TYPES: dict[str, Forms] = {
    "string": Forms("STRING", pa.string(), None),
    "bool": Forms("BOOLEAN", pa.bool_(), np.dtype(np.bool_)),
    "int32": Forms("INT", pa.int32(), np.dtype(np.int32)),
    "int64": Forms("BIGINT", pa.int64(), np.dtype(np.int64)),
    "float32": Forms("FLOAT", pa.float32(), np.dtype(np.float32)),
    "float64": Forms("DOUBLE", pa.float64(), np.dtype(np.float64)),
    "date": Forms("DATE", pa.date32(), None),
    "timestamp": Forms("TIMESTAMP", pa.timestamp("us", tz="UTC"), None),
    "strings": Forms("ARRAY<STRING>", pa.list_(pa.string()), None),
    "floats": Forms("ARRAY<FLOAT>", pa.list_(pa.float32()), None),
}


class Range(NamedTuple):
    """The values that a floating-point column takes; neither NaN nor an infinity is in any."""

    least: float
    most: float  # itself allowed, as `least` is
    sql: str  # the same of a column {0}


# NaN passes `x >= 0` in both Delta writers; only an upper bound as well keeps it out.
FINITE = Range(-LARGEST, LARGEST, f"{{0}} BETWEEN -{LARGEST_SQL} AND {LARGEST_SQL}")
NOT_NEGATIVE = Range(0.0, LARGEST, f"{{0}} BETWEEN 0 AND {LARGEST_SQL}")
CHANCE = Range(LEAST_CHANCE, 1.0, f"{{0}} >= {LEAST_CHANCE!r} AND {{0}} <= 1")
POSITIVE_SHARE = Range(math.nextafter(0.0, 1.0), 1.0, "{0} > 0 AND {0} <= 1")


@dataclass(frozen=True)
class Column:
    """One column: its name, type, meaning, nullability, and what its numbers are held to."""

    name: str
    type: ColumnType
    doc: str
    nullable: bool = False
    range: Range = FINITE  # of a floating-point column
    size: int | None = None  # of every list, where they all have one length
    at_most: int | None = None  # numbers in a list, where they differ

    @property
    def reader_dtype(self) -> np.dtype[Any] | None:
        """What a tensor holds of it, a row's shape included; None where none can hold it."""
        if self.type == "floats" and self.size is not None:
            return np.dtype((np.float32, (self.size,)))
        return TYPES[self.type].numpy

    @property
    def ddl(self) -> str:
        """The column in Spark's DDL, comment included."""
        null = "" if self.nullable else " NOT NULL"
        comment = self.doc.replace("\\", "\\\\").replace("'", "\\'")
        return f"`{self.name}` {TYPES[self.type].spark}{null} COMMENT '{comment}'"

    @property
    def lengths(self) -> tuple[int, int] | None:
        """The least and the largest length of a list; None where any will do."""
        if self.size is not None:
            return self.size, self.size
        return None if self.at_most is None else (1, self.at_most)

    @property
    def constraint(self) -> str | None:
        """The CHECK of this column; columns of numbers refuse NaN and infinity."""
        check = None
        if self.type in ("float32", "float64"):
            check = self.range.sql.format(self.name)
        elif self.type == "floats" and self.lengths is not None:
            check = self._list_check
        # Delta counts a CHECK that is neither true nor false, as with null, as violated.
        return f"{self.name} IS NULL OR ({check})" if check and self.nullable else check

    @property
    def _list_check(self) -> str:
        """Refuses what is longer, or holds NaN, which Spark orders last; and the empty list, whose
        least number is null."""
        length = f"= {self.size}" if self.size is not None else f"<= {self.at_most}"
        return (
            f"cardinality({self.name}) {length} AND array_min({self.name}) >= -{LARGEST_SQL}"
            f" AND array_max({self.name}) <= {LARGEST_SQL}"
        )


@dataclass(frozen=True)
class Table:
    """One Delta table: columns, partitioning, constraints over several columns, properties.

    optional: a warehouse may lack it, which says as much as the table without a row.
    """

    name: str
    doc: str
    columns: tuple[Column, ...]
    partition_by: tuple[str, ...] = ()
    checks: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    optional: bool = False

    def __post_init__(self) -> None:
        names = self.column_names
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"table {self.name}: column defined twice: {', '.join(repeated)}")

    @property
    def column_names(self) -> list[str]:
        """Names in table order."""
        return [column.name for column in self.columns]

    @property
    def spark_ddl(self) -> str:
        """The Spark form: a DDL column list, for CREATE TABLE and `createDataFrame`."""
        return ", ".join(column.ddl for column in self.columns)

    @property
    def arrow_schema(self) -> pa.Schema:
        """The Arrow form."""
        return pa.schema(
            [pa.field(c.name, TYPES[c.type].arrow, nullable=c.nullable) for c in self.columns]
        )

    @property
    def reader_fields(self) -> dict[str, np.dtype[Any]]:
        """The reader's form: the columns a tensor can hold, with their NumPy types."""
        forms = {column.name: column.reader_dtype for column in self.columns}
        return {name: dtype for name, dtype in forms.items() if dtype is not None}

    @property
    def constraints(self) -> dict[str, str]:
        """Every CHECK by name: one a column that has one, then those of the table."""
        own = {f"{c.name}_valid": c.constraint for c in self.columns if c.constraint is not None}
        return own | self.checks
