"""Tables where they are: mapped by the pipeline file, read in place, without Spark."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable as Snapshot
from deltalake import write_deltalake

from console.set_aside import set_aside
from schemas.errors import ConfigurationError, NoDataError
from schemas.foreign_source import foreign_source
from schemas.pipeline import Pipeline
from spark_jobs.days.outlook import Reading
from spark_jobs.days.answered import states
from spark_jobs.explained.instance import instance_of
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers import small_warehouse
from tests.helpers.lake import NAMES, as_theirs, bytes_of, lake, mapped
from tests.helpers.small_warehouse import DAYS, append, filled, instances, labels, records


def own_with_records(folder: Path, pipeline: Pipeline) -> Warehouse:
    """The tables of the warehouse that are tenforward's own, with records."""
    warehouse = Warehouse(str(folder / "own"), pipeline)
    for name in warehouse.own_tables:
        append(warehouse, name, records(instances()) if name == "forward_records" else [])
    return warehouse


def sorted_rows(table: pa.Table) -> list[dict[str, Any]]:
    return sorted(table.to_pylist(), key=lambda row: str(row["instance_id"]))


@pytest.mark.parametrize("form", ["delta", "parquet"])
def test_rows_of_each_date_are_those_of_a_table_of_our_own(tmp_path: Path, form: str) -> None:
    plain = filled(tmp_path / "plain")
    format_of = {"format": form}
    pipeline = mapped(lake(tmp_path / "lake", form), instances=format_of, labels=format_of)
    there = own_with_records(tmp_path, pipeline)
    ours, theirs = (Reading.of(one.pipeline, one.root) for one in (plain, there))
    assert theirs.days == ours.days == list(DAYS)
    for name in ("instances", "labels"):
        assert there.rows_by_date(name) == plain.rows_by_date(name)
        for day in DAYS:
            assert sorted_rows(theirs.rows(name, day)) == sorted_rows(ours.rows(name, day))
    found = instance_of(pipeline, there.root, "2026-02-02/3")
    assert found == instance_of(plain.pipeline, plain.root, "2026-02-02/3")
