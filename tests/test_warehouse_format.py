"""A warehouse carries a format: an older one works, a later one is refused with the remedy."""

import json
from pathlib import Path

import pytest

import tenforward
from inference.recorder import ForwardRecorder
from schemas.errors import ConfigurationError
from schemas.ownership import FORMAT, FORMAT_OF
from spark_jobs import create_tables, maintain
from spark_jobs.storage.properties import give
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.pipeline_file import pipeline_file
from tests.helpers.small_warehouse import filled
from tests.helpers.trainer_tables import random_rows, small_pipeline, write_refresh
from trainer.data.refresh import open_refresh

PIPELINE = small_pipeline()
REMEDY = "Remedy: use the release of tenforward that wrote it, or later"
DAY = ["--ds", "2026-02-03"]
DAYS = ["--start", "2026-02-01", "--end", "2026-02-03"]
WITHOUT = {"new", "from-feast", "describe"}  # they look at no warehouse
ASKED = {  # what a command must be told beside the pipeline and the warehouse
    "ingest": DAYS,
    "bootstrap": DAYS,
    "score": DAY,
    "import-records": DAY,
    "due": DAY,
    "select": DAY,
    "compare": [*DAY, "--policies", "uniform", "--budgets", "0.1"],
    "estimate": ["--refresh", "first", "--challenger", "1"],
    "monitor": DAY,
    "show": ["first"],
    "diff": ["first", "second"],
    "explain": ["first"],
    "set-aside": ["first", "--reason", "wrong", "--by", "ada"],
    "backfill": DAYS,
}


def all_of_format(warehouse: Warehouse, number: str) -> None:
    for name in warehouse.tables:
        give(warehouse.path(name), {FORMAT_OF: number})


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """A warehouse of a release to come."""
    made = filled(tmp_path_factory.mktemp("later"), PIPELINE)
    all_of_format(made, str(FORMAT + 1))
    return made


@pytest.mark.parametrize("name", sorted(tenforward.COMMANDS.keys() - WITHOUT))
def test_every_command_refuses_a_later_format(
    later: Warehouse, name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    common = ["--pipeline", pipeline_file(tmp_path, PIPELINE), "--warehouse", later.root]
    assert tenforward.main([name, *common, *ASKED.get(name, [])]) == 2
    told = capfd.readouterr().out.splitlines()[-1]
    assert f"holds tables of format {FORMAT + 1}" in told
    assert "use the release of tenforward that wrote it" in json.dumps(json.loads(told))


def test_the_recorder_refuses_a_later_format(later: Warehouse, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=REMEDY):
        ForwardRecorder(
            PIPELINE, warehouse=later.root, journal=tmp_path / "journal", model_version="1"
        )


def test_what_reads_a_refresh_refuses_a_later_format(tmp_path: Path) -> None:
    write_refresh(tmp_path, PIPELINE, "first", random_rows(100, seed=1))
    give(str(tmp_path / "refreshes"), {FORMAT_OF: "no number"})
    with pytest.raises(ConfigurationError, match=REMEDY):
        open_refresh(str(tmp_path), PIPELINE, "first")


def test_an_older_warehouse_works_and_init_brings_it_up(tmp_path: Path) -> None:
    warehouse = filled(tmp_path)
    warehouse.require(*warehouse.tables)
    assert maintain.maintain(warehouse)["status"] in ("done", "already done")
    given = create_tables.restore(warehouse)
    assert {name: made[FORMAT_OF] for name, made in given.items()} == dict.fromkeys(
        warehouse.tables, str(FORMAT)
    )
    assert create_tables.restore(warehouse) == {}
    warehouse.require(*warehouse.tables)
