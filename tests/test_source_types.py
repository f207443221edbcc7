"""A source's columns and rows are held to their tables, and tables without statistics are read."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from schemas.columns import Column
from schemas.errors import ConfigurationError, DataQualityError
from spark_jobs.imported.frames import new_rows, require_kind
from spark_jobs.storage.logs import files, rows_by_date

TIMES = pd.to_datetime(["2026-02-01 08:00"])
FRAMES: dict[str, tuple[str, Any, str | None]] = {
    "whole numbers beside nulls": ("int64", pd.Series([1.0, None]), None),
    "text": ("string", pd.Series(["a"]), None),
    "nothing": ("string", pd.Series([None, None], dtype="float64"), None),
    "moments": ("timestamp", pd.Series(TIMES), None),
    "ids of doubles": ("string", pd.Series([1e15, None]), "float64, wanted is STRING"),
    "ids of numbers": ("string", pd.Series([1, 2]), "int64, wanted is STRING"),
    "milliseconds": ("timestamp", pd.Series([1769932800000]), "int64, wanted is TIMESTAMP"),
    "dates as numbers": ("date", pd.Series([20260201]), "int64, wanted is DATE"),
    "a flag as a number": ("float64", pd.Series([True]), "bool, wanted is DOUBLE"),
    "a number as a flag": ("bool", pd.Series([7]), "int64, wanted is BOOLEAN"),
    "moments as numbers": ("float64", pd.Series(TIMES), "wanted is DOUBLE"),
}


@pytest.mark.parametrize("case", list(FRAMES))
def test_a_sources_column_of_another_type_is_refused(case: str) -> None:
    kind, values, words = FRAMES[case]
    column = Column("x", kind, "")  # type: ignore[arg-type]
    if words is None:
        require_kind("t", column, values)
        return
    with pytest.raises(ConfigurationError, match=rf"table t, column x: .*{words}.*Remedy: "):
        require_kind("t", column, values)


def test_a_source_that_says_something_else_than_before_is_refused(spark) -> None:
    there = spark.createDataFrame(
        [("a", 1.0, None), ("b", 2.0, "x"), ("b", 3.0, "x")], "k STRING, v DOUBLE, s STRING"
    )
    same = spark.createDataFrame([("a", 1.0, None), ("b", 3.0, "x"), ("c", 0.0, "y")], there.schema)
    assert [row["k"] for row in new_rows(same, there, ["k"], "t").collect()] == ["c"]
    other = spark.createDataFrame([("a", 1.0, "1"), ("c", 0.0, "y")], there.schema)
    with pytest.raises(DataQualityError, match=r"table t: .* something else than before of k = a"):
        new_rows(other, there, ["k"], "t")


def test_files_without_statistics_are_counted_by_their_footers(tmp_path: Path) -> None:
    path = str(tmp_path / "t")
    for day, count in ((1, 3), (2, 2)):
        table = pa.table({"event_date": [date(2026, 2, day)] * count, "x": range(count)})
        write_deltalake(path, table, mode="append", partition_by=["event_date"])
    wanted, listed = rows_by_date(path), files(path)
    for commit in (tmp_path / "t" / "_delta_log").glob("*.json"):
        lines = [json.loads(line) for line in commit.read_text().splitlines()]
        for line in lines:
            line.get("add", {}).pop("stats", None)
        commit.write_text("\n".join(map(json.dumps, lines)))
    assert rows_by_date(path) == wanted == {date(2026, 2, 1): 3, date(2026, 2, 2): 2}
    assert files(path) == listed
