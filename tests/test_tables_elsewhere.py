"""Tables where they are: mapped by the pipeline file and read in place, without Spark."""

import re
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable as Snapshot
from deltalake import write_deltalake
from pydantic import ValidationError

from console.describe import describe
from console.set_aside import set_aside
from schemas.encoding import encoding_of
from schemas.errors import ConfigurationError, ConflictError, DataQualityError, NoDataError
from schemas.foreign import foreign_sections
from schemas.foreign_source import ForeignSource
from schemas.pipeline import Pipeline, load_pipeline
from schemas.validation.elsewhere import tables_fit
from spark_jobs.days.answered import states
from spark_jobs.days.outlook import Reading
from spark_jobs.explained.instance import instance_of
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers import small_warehouse
from tests.helpers.lake import as_theirs, lake, mapped
from tests.helpers.small_warehouse import DAYS, append, filled, instances, labels, records


def with_records(folder: Path, pipeline: Pipeline) -> Warehouse:
    """The tables of the warehouse that are tenforward's own, empty but for records."""
    warehouse = Warehouse(str(folder / "own"), pipeline)
    for name in warehouse.own_tables:
        append(warehouse, name, records(instances()) if name == "forward_records" else [])
    return warehouse


def source_of(folder: Path, name: str, form: str = "delta", **sections: Any) -> ForeignSource:
    """A table of the lake in this folder."""
    source = Warehouse(str(folder / "own"), mapped(folder, form, **sections)).foreign(name)
    assert source is not None
    return source


def sorted_rows(table: pa.Table) -> list[dict[str, Any]]:
    return sorted(table.to_pylist(), key=lambda row: str(row["instance_id"]))


@pytest.mark.parametrize("form", ["delta", "parquet"])
def test_rows_of_each_date_are_those_of_a_table_of_our_own(tmp_path: Path, form: str) -> None:
    plain = filled(tmp_path / "plain")
    there = with_records(tmp_path, mapped(lake(tmp_path / "lake", form), form))
    ours, theirs = (Reading.of(one.pipeline, one.root) for one in (plain, there))
    assert theirs.days == ours.days == list(DAYS)
    for name in ("instances", "labels"):
        assert there.rows_by_date(name) == plain.rows_by_date(name)
        for day in DAYS:
            assert sorted_rows(theirs.rows(name, day)) == sorted_rows(ours.rows(name, day))
    found = instance_of(plain.pipeline, plain.root, "2026-02-02/3")
    assert instance_of(there.pipeline, there.root, "2026-02-02/3") == found


def test_the_days_of_which_something_has_come_are_others(tmp_path: Path) -> None:
    there = Warehouse(str(tmp_path / "own"), mapped(lake(tmp_path)))
    before = states(there)
    late = as_theirs("instances", instances(DAYS[1:2], 21)[20:])
    write_deltalake(str(tmp_path / "requests"), late, mode="append")
    after = states(there)
    assert [day for day in DAYS if after[day] != before[day]] == [DAYS[1]]


def test_an_instance_is_set_aside_wherever_the_instances_are(tmp_path: Path) -> None:
    pipeline = mapped(lake(tmp_path / "lake"))
    said = {"reason": "label swapped", "by": "ada"}
    told = set_aside(pipeline, str(tmp_path / "own"), ["2026-02-01/1"], **said)
    assert told["set_aside"] == ["2026-02-01/1"]
    with pytest.raises(NoDataError, match="nobody"):
        set_aside(pipeline, str(tmp_path / "own"), ["nobody"], **said)


def test_a_pipeline_of_its_own_tables_says_nothing_of_places() -> None:
    plain = small_warehouse.pipeline()
    told = plain.selection_config()
    for word in ("path", '"table"', "format", "known_a", '"column"', '"names"'):
        assert word not in told
    assert set(plain.instances.model_dump()) == {"columns", "segments"}


def test_what_a_model_reads_is_the_same_wherever_it_is(tmp_path: Path) -> None:
    assert encoding_of(mapped(tmp_path)) == encoding_of(small_warehouse.pipeline())


@pytest.mark.parametrize(
    ("section", "wrong"),
    [
        ({"instances": {"path": "lake/requests"}}, "instances.path.*not a whole path"),
        ({"instances": {"path": "gs://lake/x"}}, "instances.path.*not read from gs://"),
        ({"instances": {"path": "s3://ada:secret@lake/x"}}, "instances.path.*user or a password"),
        ({"instances": {"table": "lake.requests"}}, "instances.*table.*says already where"),
        ({"labels": {"path": None, "table": "a.b; drop"}}, "labels.table.*no name of a table"),
        ({"labels": {"path": None, "format": None}}, "labels.instance_id.*there is no labels.path"),
        ({"labels": {"known_after": "2d"}}, "labels.*known_after.*said by known_at as well"),
        ({"labels": {"known_after": "2d", "known_at": "a`b"}}, "labels.known_at.*cannot quote"),
    ],
)
def test_settings_that_name_no_table_are_refused(
    tmp_path: Path, section: dict[str, Any], wrong: str
) -> None:
    with pytest.raises(ValidationError) as told:
        mapped(tmp_path, **section)
    lines = [f"{'.'.join(map(str, one['loc']))}.{one['msg']}" for one in told.value.errors()]
    assert any(re.search(wrong, line) for line in lines), lines
    assert "secret" not in "".join(lines)


def test_known_since_the_commit_that_brought_the_row(tmp_path: Path) -> None:
    """Compaction gives all the latest moment of its files, and a cleaned log its first: a label is
    never known too early."""
    lake(tmp_path, labels=labels(instances())[:2])
    place = tmp_path / "outcomes"
    write_deltalake(str(place), as_theirs("labels", labels(instances())[2:3]), mode="append")
    first, second = sorted(one["timestamp"] for one in Snapshot(str(place)).history())

    def known() -> dict[str, int]:
        says = {"known_at": None, "known_at_commit": True}
        rows = pa.concat_tables(
            source_of(tmp_path, "labels", labels=says).rows(["instance_id", "known_at"])
        )
        return {
            row["instance_id"][-1]: round(row["known_at"].timestamp() * 1000)
            for row in rows.to_pylist()
        }

    assert known() == {"0": first, "1": first, "2": second}
    Snapshot(str(place)).optimize.compact()
    assert known() == dict.fromkeys("012", second)
    Snapshot(str(place)).create_checkpoint()
    third = max(one["timestamp"] for one in Snapshot(str(place)).history())
    for number in (0, 1):
        (place / "_delta_log" / f"{number:020}.json").unlink()
    assert known() == dict.fromkeys("012", third)


def test_known_so_long_after_the_event(tmp_path: Path) -> None:
    lake(tmp_path)
    says = {"known_at": None, "known_after": "3h"}
    source = source_of(tmp_path, "labels", labels=says)
    known = {
        row["instance_id"]: row["known_at"]
        for rows in source.rows(["instance_id", "known_at"])
        for row in rows.to_pylist()
    }
    asked = {row["instance_id"]: row["event_time"] + timedelta(hours=3) for row in instances()}
    assert known == asked


def test_a_label_of_no_instance_has_the_day_on_which_it_became_known(tmp_path: Path) -> None:
    asked = instances()
    lake(tmp_path, instances=asked[:-1], labels=labels(asked))
    rows = pa.concat_tables(source_of(tmp_path, "labels").rows(["instance_id", "event_date"]))
    assert {row["instance_id"]: row["event_date"] for row in rows.to_pylist()} == {
        row["instance_id"]: row["event_date"] for row in asked
    }


def rewritten(folder: Path, change: Any) -> Path:
    """The instances of the lake, changed by a function of their Arrow table."""
    table = change(as_theirs("instances", instances()))
    write_deltalake(str(folder / "requests"), table, mode="overwrite", schema_mode="overwrite")
    return folder


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda rows: rows.drop_columns(["price_eur"]),
            'instances.columns.price = "price_eur": .* has no such column.* of Request-Id,',
        ),
        (
            lambda rows: rows.set_column(3, "price_eur", rows["price_eur"].cast("float64")),
            'price = "price_eur": .* as double .version 1.,.* or declare price as "float64"',
        ),
        (
            lambda rows: rows.set_column(1, "asked_at", rows["asked_at"].cast("int64")),
            'instances.event_time = "asked_at": .* has it as int64',
        ),
    ],
)
def test_a_column_that_does_not_fit_is_named(tmp_path: Path, change: Any, told: str) -> None:
    source = source_of(rewritten(lake(tmp_path), change), "instances")
    with pytest.raises(ConfigurationError, match=told):
        source.require()


def test_ids_may_be_whole_numbers_and_dates_may_be_folders(tmp_path: Path) -> None:
    rows = as_theirs("instances", instances())
    rows = rows.set_column(0, "Request-Id", pa.array(range(rows.num_rows), pa.int32()))
    rows = rows.append_column("dt", pa.array([str(row["event_date"]) for row in instances()]))
    write_deltalake(str(tmp_path / "requests"), rows, partition_by=["dt"])
    source = source_of(tmp_path, "instances", instances={"event_date": "dt"})
    source.require()
    parts = source.parts()
    assert {part["partition"]["event_date"]: part["rows"] for part in parts} == dict.fromkeys(
        DAYS, 20
    )
    assert source.rows_of_part(parts[0], ["instance_id"])["instance_id"].type == pa.string()


def test_text_that_is_no_date_is_named(tmp_path: Path) -> None:
    rows = as_theirs("instances", instances())
    rows = rows.append_column("dt", pa.array(["1 Feb"] * rows.num_rows))
    write_deltalake(str(tmp_path / "requests"), rows)
    source = source_of(tmp_path, "instances", instances={"event_date": "dt"})
    with pytest.raises(DataQualityError, match=r"instances.event_date = 'dt'.*1 Feb"):
        source.parts()


def test_a_table_that_is_gone_or_vacuumed_is_named(tmp_path: Path) -> None:
    lake(tmp_path)
    source = source_of(tmp_path, "instances")
    assert source.is_whole(0)
    (file,) = (tmp_path / "requests").glob("*.parquet")
    write_deltalake(
        str(tmp_path / "requests"), as_theirs("instances", instances()), mode="overwrite"
    )
    file.unlink()
    assert not source.is_whole(0)
    assert source.is_whole(1)
    with pytest.raises(DataQualityError, match=r"instances = .*vacuumed"):
        list(source.rows(["event_time"], 0))
    with pytest.raises(ConfigurationError, match=r"version 7, which is pinned, cannot be read"):
        list(source.rows(["event_time"], 7))
    nowhere = source_of(tmp_path, "instances", instances={"path": str(tmp_path / "nowhere")})
    with pytest.raises(ConfigurationError, match="nowhere: no Delta table is there"):
        nowhere.require()


def test_parquet_that_changes_meanwhile_is_named(tmp_path: Path) -> None:
    lake(tmp_path, "parquet")
    source = source_of(tmp_path, "instances", "parquet")
    version = source.version()
    assert source.is_whole(version)
    (tmp_path / "requests" / "part-1.parquet").unlink()
    assert not source.is_whole(version)
    with pytest.raises(ConflictError, match="requests: Parquet has no versions"):
        list(source.rows(["event_time"], version))
    pq.write_table(
        as_theirs("instances", instances()).cast(
            pa.schema(
                [
                    ("Request-Id", pa.string()),
                    ("asked_at", pa.timestamp("ns")),
                    ("store", pa.string()),
                    ("price_eur", pa.float32()),
                ]
            )
        ),
        tmp_path / "requests" / "part-2.parquet",
    )
    with pytest.raises(ConfigurationError, match=r"part-2.parquet.*microseconds, which Spark"):
        source.require()


def test_describe_tells_their_columns_and_what_a_window_costs(tmp_path: Path) -> None:
    lake(tmp_path)
    place = str(tmp_path / "outcomes")
    for day in DAYS[1:]:
        of_day = [row for row in labels(instances()) if row["event_date"] == day]
        write_deltalake(place, as_theirs("labels", of_day), mode="append")
    pipeline = mapped(tmp_path, selection={"window_days": 1, "budget": 0.5})
    told = describe(pipeline)
    there = {one["column"]: one["there"] for one in told["columns"]["labels"]}
    assert there == {
        "instance_id": "request",
        "event_date": "(the UTC date of the instance)",
        "known_at": "arrived",
        "sold": "was_sold",
    }
    scans = {one["table"]: one for one in told["elsewhere"]}
    assert set(scans) == {"instances", "labels", "features/shelves"}
    assert scans["labels"]["files"] == scans["labels"]["window_files"] == 3
    assert "no date of its own: every window reads the whole table" in scans["labels"]["read_by"]
    assert "joins it with all ids" in scans["labels"]["read_by"]
    assert "not partitioned by date" in scans["instances"]["read_by"]
    whole = tmp_path / "requests"
    assert scans["instances"]["bytes"] == sum(f.stat().st_size for f in whole.glob("*.parquet"))
    dated = pipeline.labels.model_copy(update={"event_date": None, "event_time": "arrived"})
    scan = describe(pipeline.model_copy(update={"labels": dated}), "labels")["elsewhere"][0]
    assert (scan["files"], scan["window_files"]) == (3, 2)
    assert describe(small_warehouse.pipeline()).keys() == {"pipeline", "tables", "columns"}


def test_validate_names_every_fault_of_tables_elsewhere(tmp_path: Path) -> None:
    rewritten(lake(tmp_path), lambda rows: rows.drop_columns(["price_eur", "store"]))
    shutil.rmtree(tmp_path / "outcomes")
    faults = list(tables_fit(mapped(tmp_path), str(tmp_path / "own")))
    assert [fault.field for fault in faults] == [
        "instances.columns.shop",
        "instances.columns.price",
        "labels.path",
    ]
    assert "restore the table" in faults[2].remedy


def test_the_example_of_the_page_is_a_pipeline_file() -> None:
    pipeline = load_pipeline("docs/lake/fraud.toml")
    assert pipeline.labels.known_at_commit
    assert set(foreign_sections(pipeline)) == {"instances", "labels", "features/shops"}
