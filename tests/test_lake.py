"""A pipeline over tables that somebody else made, in Spark: the sample of the same rows in tables of
our own, and no byte of theirs is changed."""

from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable as Snapshot

from spark_jobs.bootstrap import bootstrap
from spark_jobs.check import check_rows
from spark_jobs.create_tables import restore
from spark_jobs.days.planned import plan
from spark_jobs.maintain import maintain
from spark_jobs.migrate import migrate
from spark_jobs.select_sample import select_day
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.flights_loop import manifest_of
from tests.helpers.lake import bytes_of, lake, mapped
from tests.helpers.small_warehouse import DAYS, append, filled, instances, records

pytestmark = pytest.mark.usefixtures("spark")
LAST = DAYS[-1]


def sampled(warehouse: Warehouse, refresh_id: str, name: str = "sampled") -> list[dict[str, Any]]:
    """The rows of a refresh in order, without its name, which is of its configuration."""
    rows = warehouse.read(name).where(f"refresh_id = '{refresh_id}'").orderBy("position")
    return [row.asDict() for row in rows.drop("refresh_id").collect()]


@pytest.fixture(scope="module")
def plain(spark, tmp_path_factory) -> tuple[Warehouse, dict[str, Any]]:
    """The rows in tables of our own, and their refresh."""
    warehouse = filled(tmp_path_factory.mktemp("plain"))
    return warehouse, select_day(warehouse, LAST)


@pytest.mark.parametrize("form", ["delta", "parquet"])
def test_law_1_the_sample_of_tables_elsewhere_is_that_of_our_own(plain, tmp_path, form):
    own, ours = plain
    place = {"format": form}
    pipeline = mapped(lake(tmp_path / "lake", form), instances=place, labels=place)
    if form == "parquet":
        view = pipeline.feature_views[0].model_copy(update=place)
        pipeline = pipeline.model_copy(update={"feature_views": [view]})
    before = bytes_of(tmp_path / "lake")
    warehouse = Warehouse(str(tmp_path / "own"), pipeline)
    warehouse.create_missing()
    append(warehouse, "forward_records", records(instances()))
    assert {one.name for one in Path(warehouse.root).iterdir()}.isdisjoint({"instances", "labels"})
    (planned,) = plan(warehouse, LAST, LAST)
    theirs = select_day(warehouse, LAST)
    assert theirs["sample_digest"] == ours["sample_digest"]
    for name in ("sampled", "holdout"):
        rows = sampled(warehouse, theirs["refresh_id"], name)
        assert rows == sampled(own, ours["refresh_id"], name)
    assert planned["candidates"] == theirs["candidates"]
    manifest = manifest_of(warehouse, theirs["refresh_id"])
    assert theirs["coverage"] == ours["coverage"]
    again = select_day(warehouse, LAST, rebuild=True)
    assert again["sample_digest"] == ours["sample_digest"]
    first = bootstrap(warehouse, DAYS[0], DAYS[1])
    assert first["drawn"] > 20
    assert check_rows(pipeline, warehouse.root)["status"] == "done"
    maintain(warehouse)
    migrate(warehouse)
    restore(warehouse)
    assert bytes_of(tmp_path / "lake") == before
    assert manifest.inputs.versions["instances"] == warehouse.version("instances")
