"""Eight appenders, a compaction, a selection and a training on one warehouse at the same time."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from reference.plain_tables import stored
from schemas.manifests import read_manifests
from schemas.registry import mlflow_client
from spark_jobs.select_sample import select_day
from spark_jobs.storage.compaction import compact, to_compact
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.flights_loop import LOOPED, PIPELINE, ROOT, twin_of

pytestmark = [pytest.mark.slow, pytest.mark.nightly]

APPENDERS, REQUESTS, ROWS = 8, 40, 5
DAY = LOOPED[1] + timedelta(days=1)  # after the window: the selection reads none of them
# A server that records; each row is of the day after the loop's.
APPENDER = """
import sys
from datetime import UTC, datetime
from inference.recorder import ForwardRecorder

root, name, day, requests, rows, pipeline = sys.argv[1:]
moment = datetime.fromisoformat(day).replace(hour=12, tzinfo=UTC)
with ForwardRecorder(pipeline, warehouse=root, model_version="1", file_bytes=500,
                     journal=f"{root}/journals/{name}") as recorder:
    for request in range(int(requests)):
        ids = [f"{name}/{request}/{row}" for row in range(int(rows))]
        keys = {"origin": ["JFK"] * len(ids), "carrier": ["AA"] * len(ids)}
        recorder.record(ids, [moment] * len(ids), [0.5] * len(ids), segments=keys)
if recorder.metrics().journal_bytes:
    sys.exit(f"left in the journal: {recorder.metrics()}")
"""


def appender(root: str, number: int) -> "subprocess.Popen[str]":
    words = [f"server-{number}", str(DAY), str(REQUESTS), str(ROWS), PIPELINE]
    line = [sys.executable, "-c", APPENDER, root, *words]
    return subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def training(root: str, refresh_id: str) -> "subprocess.Popen[str]":
    where = ["--pipeline", PIPELINE, "--warehouse", root, "--refresh", refresh_id]
    line = [sys.executable, "-m", "tenforward", "train", *where, "--force"]
    return subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def compactions(warehouse: Warehouse) -> int:
    """Compact `forward_records` again and again while the appenders append; how often it was."""
    done, table = 0, warehouse.tables["forward_records"]
    while records(warehouse) < APPENDERS * REQUESTS * ROWS:
        if crowd := to_compact(warehouse, table.name):
            compact(warehouse, table, crowd)
            done += 1
    return done


def records(warehouse: Warehouse) -> int:
    files = warehouse.files("forward_records")
    return sum(file["rows"] for file in files if file["partition"]["event_date"] == DAY)


def test_law_2_nothing_is_lost_and_each_gets_what_it_gets_alone(
    twin: Warehouse, tmp_path: Path
) -> None:
    alone = twin_of(twin, tmp_path / "alone")
    uniform = twin.pipeline.model_copy(
        update={"selection": twin.pipeline.selection.model_copy(update={"policy": "uniform"})}
    )
    wanted = select_day(Warehouse(alone.root, uniform), LOOPED[1])
    first = newest_refresh_of(twin)
    before = {row["instance_id"] for row in stored(Path(twin.root))}
    with ThreadPoolExecutor(2) as pool:
        appenders = [appender(twin.root, number) for number in range(APPENDERS)]
        trainer = training(twin.root, first)
        selected = pool.submit(select_day, Warehouse(twin.root, uniform), LOOPED[1])
        compacted = pool.submit(compactions, twin)
        for process in (*appenders, trainer):
            _, told = process.communicate(timeout=600)
            assert process.returncode == 0, told
        assert selected.result()["sample_digest"] == wanted["sample_digest"]
        assert compacted.result() > 0
    found = [row["instance_id"] for row in stored(Path(twin.root))]
    names = {
        f"server-{number}/{request}/{row}"
        for number in range(APPENDERS)
        for request in range(REQUESTS)
        for row in range(ROWS)
    }
    assert len([name for name in found if name.startswith("server-")]) == len(names)
    assert set(found) == before | names
    versions = mlflow_client(twin.root).search_model_versions("name = 'flights'")
    assert len([one for one in versions if one.tags["refresh_id"] == first]) == 2


def newest_refresh_of(warehouse: Warehouse) -> str:
    """The newest refresh of the pipeline's policy."""
    policy = warehouse.pipeline.selection.policy
    return read_manifests(warehouse.path("refreshes"), policy=policy)[0].refresh_id
