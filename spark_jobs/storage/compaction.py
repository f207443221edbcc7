"""Compaction: the small files that many writers leave behind become a few large ones.

`sampled` and `holdout` are left alone: the trainer reads the files that the manifest lists.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from delta.tables import DeltaTable

from schemas.columns import Table
from schemas.errors import ConflictError
from schemas.places import for_spark
from spark_jobs.storage.warehouse import CONFLICTS, Warehouse

LAID_OUT_FOR_TRAINING = ("sampled", "holdout")
ATTEMPTS = 3


@dataclass(frozen=True)
class Crowded:
    """A partition (the whole table, where `values` is empty) with too many small files."""

    values: tuple[tuple[str, Any], ...]
    files: int
    bytes: int

    @property
    def where(self) -> str:
        """The partition as a condition in SQL."""
        return " AND ".join(f"{name} = {_literal(value)}" for name, value in self.values)


def crowded(files: Sequence[dict[str, Any]], target: int, at_least: int) -> list[Crowded]:
    """The partitions with `at_least` files smaller than half of `target` bytes, by value.

    files: as `Warehouse.files` gives them. A file of at least half the target is not worth
    writing again.
    """
    small: dict[tuple[tuple[str, Any], ...], list[int]] = {}
    for file in files:
        if file["bytes"] < target // 2:
            small.setdefault(tuple(sorted(file["partition"].items())), []).append(file["bytes"])
    folders = [Crowded(values, len(sizes), sum(sizes)) for values, sizes in small.items()]
    return sorted((c for c in folders if c.files >= at_least), key=lambda c: c.where)


def compactable(warehouse: Warehouse) -> list[str]:
    """The tables whose file layout nobody relies on."""
    return [name for name in warehouse.tables if name not in LAID_OUT_FOR_TRAINING]


def to_compact(warehouse: Warehouse, name: str, expired: Collection[Any] = ()) -> list[Crowded]:
    """What there is to do in one table, from its log alone, but in partitions that expire first."""
    settings = warehouse.pipeline.maintenance
    files = [file for file in warehouse.files(name) if not in_partition(file, expired)]
    return crowded(files, settings.target_mb << 20, settings.min_files)


def in_partition(file: Mapping[str, Any], values: Collection[Any]) -> bool:
    """Whether a file lies in the partition of one of these values."""
    return any(value in values for value in file["partition"].values())


def compact(warehouse: Warehouse, table: Table, partitions: Sequence[Crowded]) -> None:
    """Rewrite the small files of these partitions, in one commit that changes no row.

    Appends go on meanwhile. Raises ConflictError where another job keeps rewriting the same files.
    """
    settings = warehouse.pipeline.maintenance
    conf = warehouse.spark.conf
    conf.set("spark.databricks.delta.optimize.minFileSize", settings.target_mb << 19)
    conf.set("spark.databricks.delta.optimize.maxFileSize", settings.target_mb << 20)
    for attempt in range(1, ATTEMPTS + 1):
        work = DeltaTable.forPath(warehouse.spark, for_spark(warehouse.path(table.name))).optimize()
        if table.partition_by:
            work = work.where(" OR ".join(f"({one.where})" for one in partitions))
        try:
            work.executeCompaction()
        except CONFLICTS as error:
            if attempt == ATTEMPTS:
                raise ConflictError(
                    f"table {table.name}: not compacted, other jobs rewrote the same files"
                    f" {ATTEMPTS} times meanwhile. Remedy: repeat the command when they have ended."
                ) from error
        else:
            return


def _literal(value: Any) -> str:
    """A partition value in SQL; partitions are dates and refresh ids."""
    if isinstance(value, date):
        return f"DATE '{value}'"
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"
