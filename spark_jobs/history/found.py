"""A finding about rows: its kind, how many, a few ids and days, what it means and what to do."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from schemas.findings import KINDS

FEW = 5
ID, DAY, KIND = "_id", "_day", "_kind"


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
    kinds = [kind for kind in faults if sums[kind]]
    if not kinds:
        return []
    named_kinds = F.array(*(F.when(F.col(f"`{kind}`"), F.lit(kind)) for kind in kinds))
    of_kind = F.explode(F.array_compact(named_kinds)).alias(KIND)
    few = examples(judged.select(ID, DAY, of_kind))
    return [finding(kind, table, path, sums[kind], **few[kind]) for kind in kinds]


def examples(rows: DataFrame) -> dict[str, dict[str, Any]]:
    """A few ids of each kind, and their days; one pass.

    rows: as `named` gives them, with the kind of each as `KIND`.
    """
    instances = rows.groupBy(KIND, F.coalesce(ID, F.lit("")).alias(ID)).agg(F.min(DAY).alias(DAY))
    place = F.row_number().over(Window.partitionBy(KIND).orderBy(ID))
    few: dict[str, dict[str, Any]] = {}
    for row in instances.withColumn("_place", place).where(F.col("_place") <= FEW).collect():
        told = few.setdefault(row[KIND], {"ids": [], "days": []})
        told["ids"] += [row[ID]] if row[ID] else []
        told["days"] += [str(row[DAY])] if row[DAY] is not None else []
    return {
        kind: {name: sorted(set(values)) for name, values in told.items()}
        for kind, told in few.items()
    }
