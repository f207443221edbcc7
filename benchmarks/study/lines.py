"""Lines of a CSV file of the study, checked: each error names file, line, column and value."""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from benchmarks.study.parts import PARTS
from schemas.errors import DataQualityError, NoDataError

T = TypeVar("T")


@dataclass(frozen=True)
class Fields:
    """A line's values, by column, and where it stands."""

    path: Path
    number: int
    values: dict[str, str]

    def read(self, column: str, kind: Callable[[str], T]) -> T:
        """A value as `kind` reads it; raises DataQualityError where it cannot."""
        try:
            return kind(self.values[column])
        except ValueError:
            name = {"fromisoformat": "date as YYYY-MM-DD", "int": "whole number"}
            raise DataQualityError(
                f"{self}: {column} = {self.values[column]!r}. Remedy: write a"
                f" {name.get(kind.__name__, 'number')}."
            ) from None

    def __str__(self) -> str:
        return f"{self.path}, line {self.number}"


def fields(path: Path, columns: tuple[str, ...]) -> Iterator[Fields]:
    """The lines of a file whose first line names the columns, of data sets that have a part.

    Raises NoDataError where there is no such file, DataQualityError where it is another table.
    """
    if not path.exists():
        raise NoDataError(f"{path}: no such file. Remedy: run the study, or name its --folder.")
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        header = tuple(next(reader, ()))
        if header != columns:
            raise DataQualityError(
                f"{path}, line 1: the columns are {','.join(header)}. Remedy: write"
                f" {','.join(columns)}."
            )
        for values in reader:
            yield _fields(path, reader.line_num, columns, values)


def _fields(path: Path, number: int, columns: tuple[str, ...], values: list[str]) -> Fields:
    if len(values) != len(columns):
        raise DataQualityError(
            f"{path}, line {number}: {len(values)} values. Remedy: one for each of the"
            f" {len(columns)} columns."
        )
    found = Fields(path, number, dict(zip(columns, values, strict=True)))
    data = found.values["data"]
    if not any(data in names for names in PARTS.values()):
        raise DataQualityError(
            f"{found}: data = {data!r} is in no part of the study. Remedy: add it to PARTS in"
            " benchmarks/study/parts.py."
        )
    return found
