"""Files of candidates that selection itself writes: what Spark would write, once, or nothing."""

import math
from collections.abc import Callable
from itertools import count

import pyarrow as pa
import pytest
from deltalake import DeltaTable as Snapshot
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from schemas.errors import ConflictError, DataQualityError
from schemas.pipeline import load_pipeline
from schemas.tables import selection_probabilities
from spark_jobs.maintain import maintain
from spark_jobs.refresh.candidate_files import NewFile, replace_files, require_fit, write_file
from spark_jobs.storage.creation import create_missing
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.flights_loop import PIPELINE

TABLE = selection_probabilities()
SCHEMA = pa.schema([field for field in TABLE.arrow_schema if field.name != "refresh_id"])
NOON = 1_360_843_200_000_000  # microseconds
fresh_number = count()


@pytest.fixture(scope="module")
def warehouse(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Empty tables."""
    made = Warehouse(str(tmp_path_factory.mktemp("files")), load_pipeline(PIPELINE))
    create_missing(made)
    return made


@pytest.fixture
def refresh_id() -> str:
    """A refresh that no other test writes."""
    return f"flights-{next(fresh_number)}"


def candidates(*ids: str, **changed: object) -> pa.Table:
    """Candidates without the refresh id; some columns with another value."""
    row = {
        "event_time": NOON, "model_version": "1", "label": 1.0, "loss": None, "score": 0.5,
        "probability": 0.25, "probability_negative": None, "probability_positive": 0.5,
        "drawn": True, "weight": 4.0, "offset": 0.0, "position": 7,
    } | changed  # fmt: skip
    return pa.Table.from_pylist([{"instance_id": one, **row} for one in ids], schema=SCHEMA)


def files(warehouse: Warehouse, refresh_id: str, *tables: pa.Table) -> list[NewFile]:
    """Each table as a file that nobody has added."""
    place = warehouse.path(TABLE.name)
    return [write_file(rows, place=place, refresh_id=refresh_id) for rows in tables]


def replaced(warehouse: Warehouse, refresh_id: str, *tables: pa.Table) -> int:
    """The refresh as these tables."""
    write = lambda: files(warehouse, refresh_id, *tables)  # noqa: E731
    return replace_files(warehouse, TABLE, refresh_id, write)


def written(warehouse: Warehouse, refresh_id: str) -> list[str]:
    """Ids of the refresh, as Spark reads them."""
    rows = warehouse.read(TABLE.name).where(F.col("refresh_id") == refresh_id)
    return sorted(row["instance_id"] for row in rows.select("instance_id").collect())


def test_spark_reads_what_was_decided_and_the_log_counts_it(warehouse, refresh_id):
    first, second = candidates("a", "b", loss=0.5), candidates("c")
    version = replaced(warehouse, refresh_id, first, second)
    rows = warehouse.read(TABLE.name, version).where(F.col("refresh_id") == refresh_id)
    assert rows.columns == TABLE.column_names
    read = rows.select(*SCHEMA.names).toArrow().sort_by("instance_id")
    assert read.to_pylist() == pa.concat_tables([first, second]).to_pylist()
    counted = [
        file["rows"]
        for file in warehouse.files(TABLE.name)
        if file["partition"]["refresh_id"] == refresh_id
    ]
    assert sorted(counted) == [1, 2]


def test_a_second_run_replaces_its_refresh_and_leaves_the_table_as_it_is(warehouse, refresh_id):
    replaced(warehouse, f"{refresh_id}-other", candidates("x"))
    replaced(warehouse, refresh_id, candidates("a"), candidates("b"))
    before = Snapshot(warehouse.path(TABLE.name))
    replaced(warehouse, refresh_id, candidates("c"))
    after = Snapshot(warehouse.path(TABLE.name))
    assert written(warehouse, refresh_id) == ["c"]
    assert written(warehouse, f"{refresh_id}-other") == ["x"]
    assert after.schema() == before.schema()
    assert after.metadata().configuration == before.metadata().configuration
    assert after.protocol() == before.protocol()


def test_spark_and_files_replace_each_other(warehouse, refresh_id):
    replaced(warehouse, refresh_id, candidates("a"))
    rows = warehouse.spark.createDataFrame(candidates("b"))
    frame = rows.withColumn("refresh_id", F.lit(refresh_id))
    warehouse.replace_refresh(frame, TABLE.name, refresh_id)
    assert written(warehouse, refresh_id) == ["b"]
    replaced(warehouse, refresh_id, candidates("c"))
    assert written(warehouse, refresh_id) == ["c"]


@pytest.mark.parametrize("there", [[], ["before"]], ids=["first", "forced"])
def test_law_2_of_two_runs_of_a_refresh_one_is_refused(warehouse, refresh_id, there):
    if there:
        replaced(warehouse, refresh_id, candidates(*there))

    def slow() -> list[NewFile]:
        replaced(warehouse, refresh_id, candidates("fast"))
        return files(warehouse, refresh_id, candidates("slow"))

    with pytest.raises(ConflictError, match=rf"{TABLE.name}, refresh {refresh_id}: .*Remedy: "):
        replace_files(warehouse, TABLE, refresh_id, slow)
    assert written(warehouse, refresh_id) == ["fast"]
    replaced(warehouse, refresh_id, candidates("slow"))  # the remedy: repeat the command
    assert written(warehouse, refresh_id) == ["slow"]


class Crowded(Warehouse):
    """Another commit comes between the look at the table and ours, twice."""

    meanwhile: list[Callable[[], object]]

    def has_refresh(self, name: str, refresh_id: str, version: int | None = None) -> bool:
        found = super().has_refresh(name, refresh_id, version)
        if self.meanwhile:
            self.meanwhile.pop()()
        return found


@pytest.mark.parametrize("there", [[], ["before"]], ids=["first", "forced"])
def test_runs_of_other_refreshes_and_a_compaction_do_not_disturb(warehouse, refresh_id, there):
    other = f"{refresh_id}-other"
    for name in (refresh_id, other):
        if there:
            replaced(warehouse, name, candidates(*there))
    late = Crowded(warehouse.root, warehouse.pipeline)
    object.__setattr__(
        late,
        "meanwhile",
        [
            lambda: replaced(warehouse, other, candidates("x")),
            lambda: replaced(warehouse, other, candidates("y")),
            lambda: maintain(warehouse, [TABLE.name]),
        ],
    )
    replaced(late, refresh_id, candidates("a"))
    assert written(warehouse, refresh_id) == ["a"]
    replaced(late, refresh_id, candidates("b"))
    assert written(warehouse, refresh_id) == ["b"]
    assert written(warehouse, other) in (["x"], ["y"])


def test_a_file_that_was_never_added_is_not_there(warehouse, refresh_id):
    files(warehouse, refresh_id, candidates("a"))
    assert written(warehouse, refresh_id) == []
    replaced(warehouse, refresh_id, candidates("b"))
    assert written(warehouse, refresh_id) == ["b"]


UNFIT = [
    *((name, value) for name in ("probability",) for value in (0.0, 1.5, math.nan, None)),
    *(
        (name, value)
        for name in ("label", "score", "weight", "offset")
        for value in (math.nan, -math.inf, 2e30, None)
    ),
    *(
        (name, value)
        for name in ("loss", "probability_negative", "probability_positive")
        for value in (math.nan, math.inf)
    ),
    ("instance_id", None),
    ("position", None),
]


@pytest.mark.parametrize(("column", "value"), UNFIT)
def test_what_the_tables_constraints_refuse_is_refused(column, value):
    rows = candidates("a", "b")
    place, kind = rows.schema.get_field_index(column), rows.schema.field(column).type
    good = rows[column][0].as_py()
    wrong = rows.set_column(place, column, pa.array([good, value], kind))
    with pytest.raises(DataQualityError, match=rf"column {column}: .*Remedy: "):
        require_fit(wrong, SCHEMA)


def test_every_constraint_of_the_table_is_among_them():
    assert {name.removesuffix("_valid") for name in TABLE.constraints} <= {c for c, _ in UNFIT}
    require_fit(candidates("a", probability=1.0, loss=-1e30), SCHEMA)
