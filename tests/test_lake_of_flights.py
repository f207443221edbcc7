"""The commands of the loop over flights that somebody else keeps, under other names: made by plain
Spark, unpartitioned, without an event date."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import tenforward
from demo.airflow_home import airflow_home, run_dags
from schemas.manifests import read_manifests
from spark_jobs.refresh.registered import registered_versions
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.flights_loop import LOOPED, PIPELINE
from tests.helpers.lake import bytes_of

THEIRS = {
    "instances": {"instance_id": "flight_key", "event_time": "asked_at", "distance": "miles"},
    "labels": {"instance_id": "flight_key", "known_at": "landed_at", "late": "was_late"},
    "features/weather": {"origin": "airport", "observed_at": "valid_from", "temp": "fahrenheit"},
}
SECTIONS = {
    r"^source = .*$": "",
    r"^\[instances\]$": '[instances]\npath = "LAKE/instances"\ninstance_id = "flight_key"\n'
    'event_time = "asked_at"',
    r"^distance = \{ type": 'distance = { column = "miles", type',
    r"^\[labels\]$": '[labels]\npath = "LAKE/labels"\ninstance_id = "flight_key"\n'
    'known_at = "landed_at"',
    r"^late = \{ type": 'late = { column = "was_late", type',
    r'^name = "weather"$': 'name = "weather"\npath = "LAKE/features/weather"\n'
    'names = { origin = "airport", observed_at = "valid_from" }',
    r"^temp = \{ type": 'temp = { column = "fahrenheit", type',
}


def taken_over(twin: Warehouse, folder: Path) -> str:
    """A pipeline file over tables in a folder, which are those of the warehouse under other names;
    the warehouse has them no more."""
    for name, names in THEIRS.items():
        rows = twin.read(name).withColumnsRenamed(names).drop("event_date")
        rows.coalesce(2).write.format("delta").save(str(folder / name))
        shutil.rmtree(twin.path(name))
    text = Path(PIPELINE).read_text(encoding="utf-8")
    for line, other in SECTIONS.items():
        text, count = re.subn(line, other.replace("LAKE", str(folder)), text, count=1, flags=re.M)
        assert count == 1, line
    file = folder.parent / "flights.toml"
    file.write_text(text, encoding="utf-8")
    return str(file)


@pytest.mark.slow
def test_law_1_backfill_over_a_lake_draws_and_trains_what_it_drew(loop, twin, tmp_path, capsys):
    file, lake = taken_over(twin, tmp_path / "lake"), tmp_path / "lake"
    before = bytes_of(lake)

    def run(*line: str, code: int = 0) -> dict[str, Any]:
        where = ("--pipeline", file, "--warehouse", twin.root)
        assert tenforward.main([*line, *where]) == code
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    assert run("validate")["valid"]
    day = str(LOOPED[1])
    (done,) = run("backfill", "--start", day, "--end", day)["days"]
    assert done["score"]["status"] == "already done"  # every instance has its answer
    assert done["select"]["sample_digest"] == loop["days"][1]["select"]["sample_digest"]
    assert done["train"]["status"] == "done"
    shown = run("show", done["select"]["refresh_id"])
    assert shown["decided"]["elsewhere"]["labels"]["place"] == str(lake / "labels")
    again = run("select", "--ds", day, "--rebuild")
    assert again["sample_digest"] == done["select"]["sample_digest"]
    run("due", "--ds", day)
    run("maintain")
    asked = run("describe", "--table", "instances")["elsewhere"]
    assert asked[0]["files"] == 2
    run("ingest", code=2)
    assert bytes_of(lake) == before


@pytest.mark.airflow
@pytest.mark.slow
@pytest.mark.nightly
def test_law_1_the_dags_draw_from_a_lake_what_the_command_draws(loop, twin, tmp_path):
    """Real tasks in a real Airflow: score, select and, by the asset's event, train."""
    file, lake = taken_over(twin, tmp_path / "lake"), tmp_path / "lake"
    before, known = bytes_of(lake), read_manifests(twin.path("refreshes"))
    environment = airflow_home(
        tmp_path / "airflow",
        TENFORWARD_WAREHOUSE=twin.root,
        TENFORWARD_PIPELINES=str(Path(file).parent),
    )
    with (tmp_path / "log").open("w+") as log:
        ran = run_dags(environment, [f"select_flights@{LOOPED[1]}", "train_flights"], log)
        log.seek(0)
        assert [one["state"] for one in ran] == ["success", "success"], log.read()[-4000:]
    names = {one.refresh_id for one in known}
    (made,) = (m for m in read_manifests(twin.path("refreshes")) if m.refresh_id not in names)
    assert made.sample_digest == loop["days"][1]["select"]["sample_digest"]
    assert made.refresh_id in {
        t["refresh_id"] for t in registered_versions(twin.root, "flights").values()
    }
    assert bytes_of(lake) == before
