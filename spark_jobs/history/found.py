"""A finding about rows: its kind, how many, a few ids and days, what it means and what to do."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from schemas.findings import KINDS

FEW = 5
ID, DAY = "_id", "_day"


@dataclass(frozen=True)
class RowFinding:
    """Rows of a table with one fault. An `error` is data that must be mended; a `warning` and a
    `note` are told and no more."""

    severity: str
    table: str
    kind: str
    count: int
    says: str
    remedy: str
    ids: list[str] = field(default_factory=list)
    days: list[str] = field(default_factory=list)
    reason: str | None = None  # for which select refuses the rows, where it does

    def __str__(self) -> str:
        """The finding in a line."""
        more = ", ..." if self.count > len(self.ids) else ""
        where = f" ({', '.join(self.ids)}{more})" if self.ids else ""
        days = f" on {', '.join(self.days)}" if self.days else ""
        what = f"table {self.table}, {self.reason or self.kind}: {self.count:,} {self.says}"
        return f"{what}{where}{days}. Remedy: {self.remedy}."

    def as_dict(self) -> dict[str, Any]:
        """For the JSON result."""
        return asdict(self)


def finding(
    kind: str, table: str, path: str, count: int, *, severity: str | None = None, **more: Any
) -> RowFinding:
    """A finding of a kind of `schemas.findings`. more: ids, days, or other words for `says`."""
    known = KINDS[kind]
    words = {"says": known.says, "remedy": known.remedy.format(path=path)} | more
    return RowFinding(severity or known.severity, table, kind, count, **words)


def named(rows: DataFrame, instance: Column, day: Column) -> DataFrame:
    """The rows with what `examples` tells of them, under names that no column of a user has."""
    return rows.withColumns({ID: instance.cast("string"), DAY: day})


def row_faults(
    rows: DataFrame, table: str, path: str, faults: Mapping[str, Column]
) -> list[RowFinding]:
    """A finding for each kind of fault that a row has; one pass, and one more for each found.

    rows: as `named` gives them.
    """
    columns = (F.coalesce(fault, F.lit(False)).alias(kind) for kind, fault in faults.items())
    judged = rows.select(ID, DAY, *columns)
    sums = judged.agg(*(F.count_if(F.col(f"`{kind}`")).alias(kind) for kind in faults)).first()
    assert sums is not None
    return [
        finding(kind, table, path, sums[kind], **examples(judged.where(F.col(f"`{kind}`"))))
        for kind in faults
        if sums[kind]
    ]


def examples(rows: DataFrame) -> dict[str, Sequence[str]]:
    """A few ids and days of rows as `named` gives them."""
    return {"ids": _first(rows, ID), "days": _first(rows, DAY)}


def _first(rows: DataFrame, name: str) -> list[str]:
    values = rows.where(F.col(name).isNotNull()).select(name).distinct().orderBy(name)
    return [str(row[name]) for row in values.limit(FEW).collect()]
