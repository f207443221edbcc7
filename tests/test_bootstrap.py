"""The first refresh: of which days it is, and how it is written anew."""

from pathlib import Path

import pytest

from schemas.errors import ConfigurationError
from schemas.manifests import find_manifest
from spark_jobs.bootstrap import bootstrap, parser
from spark_jobs.storage.warehouse import Warehouse
from tenforward import read_refresh
from tests.helpers import small_warehouse as small

FIRST, SECOND, LAST = small.DAYS


def days_of(warehouse: Warehouse, refresh_id: str) -> set[str]:
    ids = read_refresh(warehouse.root, refresh_id)["instance_id"].to_pylist()
    return {one.split("/")[0] for one in ids}


@pytest.mark.usefixtures("spark")
def test_another_start_is_another_refresh_and_not_already_done(tmp_path: Path) -> None:
    warehouse = small.filled(tmp_path)
    of_two = bootstrap(warehouse, SECOND, LAST)
    assert bootstrap(warehouse, SECOND, LAST)["status"] == "already done"
    with pytest.raises(ConfigurationError) as refused:
        bootstrap(warehouse, FIRST, LAST)
    told = str(refused.value)
    assert told.startswith(f"--start = {FIRST}: the bootstrap to {LAST} is there")
    assert f"of {SECOND} to {LAST}. Remedy: give --start {SECOND}" in told
    assert days_of(warehouse, of_two["refresh_id"]) == {f"{SECOND}", f"{LAST}"}
    of_three = bootstrap(warehouse, FIRST, LAST, force=True)
    assert (of_three["status"], of_three["refresh_id"]) == ("done", of_two["refresh_id"])
    assert days_of(warehouse, of_three["refresh_id"]) == {f"{one}" for one in small.DAYS}
    manifest = find_manifest(warehouse.path("refreshes"), of_three["refresh_id"])
    assert manifest is not None
    assert manifest.inputs.window_start == FIRST
    assert bootstrap(warehouse, FIRST, LAST)["status"] == "already done"
    assert bootstrap(warehouse, FIRST, SECOND)["status"] == "done"  # the other remedy


def test_the_command_has_the_option_that_it_names() -> None:
    line = ["--pipeline", "p.toml", "--start", f"{FIRST}", "--end", f"{LAST}", "--force"]
    assert parser().parse_args(line).force
