"""Several writers of one table on an object store: Spark drivers, and delta-rs beside them."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyspark
import pytest
from deltalake import CommitProperties, write_deltalake
from deltalake import DeltaTable as Snapshot
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction
from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway
from py4j.protocol import Py4JJavaError

from schemas.places import filesystem, for_spark
from tests.helpers.object_store import BUCKET, JARS, object_store

ROOT = Path(__file__).parents[1]
OURS = "tenforward.ConditionalPutLogStore"
TRIES = int(os.environ.get("TRIES", "12"))
COMMITS = 4

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not JARS, reason="Spark needs 645 MB of jars for s3a: make s3-jars"),
]

Write = Callable[[str, str], bool]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The store, with this process's environment pointing to it."""
    state = tmp_path_factory.mktemp("state")
    with object_store(state) as found, pytest.MonkeyPatch.context() as patch:
        for name, value in found.items():
            patch.setenv(name, value)
        yield found


@pytest.fixture(scope="module")
def log_store_jar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log stores, compiled from their sources as they are now."""
    jar = tmp_path_factory.mktemp("jars") / "log-store.jar"
    found = subprocess.run(
        ["bash", "-c", 'readlink -f "$(command -v java)"'], capture_output=True, text=True
    )
    home = str(Path(found.stdout.strip()).parents[1])
    subprocess.run([sys.executable, "setup/log_store.py", home, str(jar)], check=True, cwd=ROOT)
    return jar


def driver(store: dict[str, str], jar: Path) -> Write:
    """A write by the log store in a JVM of its own: whether it believes to have won."""
    jars = [f"{Path(pyspark.__file__).parent}/jars/*", *map(str, JARS), str(jar)]
    port, token = launch_gateway(classpath=":".join(jars), die_on_exit=True, enable_auth=True)
    jvm = JavaGateway(gateway_parameters=GatewayParameters(port=port, auth_token=token)).jvm
    conf = jvm.org.apache.hadoop.conf.Configuration()
    for name, value in {
        "path.style.access": "true",
        "endpoint": store["AWS_ENDPOINT_URL"],
        "endpoint.region": store["AWS_REGION"],
        "access.key": store["AWS_ACCESS_KEY_ID"],
        "secret.key": store["AWS_SECRET_ACCESS_KEY"],
    }.items():
        conf.set(f"fs.s3a.{name}", value)
    log_store = jvm.tenforward.ConditionalPutLogStore(conf)

    def write(place: str, line: str) -> bool:
        lines = jvm.java.util.ArrayList()
        lines.add(line)
        path = jvm.org.apache.hadoop.fs.Path(for_spark(place))
        try:
            log_store.write(path, lines.iterator(), False, conf)
        except Py4JJavaError as error:
            if "FileAlreadyExistsException" not in str(error.java_exception):
                raise
            return False
        return True

    return write


@pytest.fixture(scope="module")
def drivers(store: dict[str, str], log_store_jar: Path) -> list[Write]:
    return [driver(store, log_store_jar) for _ in range(2)]


def added(name: str) -> str:
    return json.dumps(
        {"add": {"path": name, "size": 1, "partitionValues": {}, "modificationTime": 0,
                 "dataChange": True}}
    )  # fmt: skip


def text_of(place: str) -> str:
    files, path = filesystem(place)
    return files.open_input_stream(path).read().decode()


def by_delta_rs(snapshot: Snapshot, name: str) -> bool:
    """Whether delta-rs believes to have committed the next version."""
    action = AddAction(name, 1, {}, 0, True, '{"numRecords":1}')
    try:
        snapshot.create_write_transaction(
            [action], "append", snapshot.schema(),
            commit_properties=CommitProperties(max_commit_retries=0),
        )  # fmt: skip
    except DeltaError:
        return False
    return True


def winners(sides: dict[str, Callable[[], bool]], late_s: float) -> list[str]:
    """The sides that believe to have won when all of them begin at once; delta-rs, the quickest,
    begins a little later."""
    together, won = threading.Barrier(len(sides)), dict.fromkeys(sides, False)

    def commit(name: str) -> None:
        together.wait()
        time.sleep(late_s if name == "delta-rs" else 0)
        won[name] = sides[name]()

    threads = [threading.Thread(target=commit, args=(name,)) for name in sides]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [name for name, mine in won.items() if mine]


def test_law_2_of_two_drivers_and_delta_rs_one_commits_a_version(drivers: list[Write]) -> None:
    """Delta's own store let two of them win in 14 of 60 tries."""
    table, wins = f"s3://{BUCKET}/raced", set()
    Snapshot.create(table, pa.schema([("a", pa.int64())]))
    for version in range(1, TRIES + 1):
        place, snapshot = f"{table}/_delta_log/{version:020d}.json", Snapshot(table)
        assert snapshot.version() == version - 1
        sides: dict[str, Callable[[], bool]] = {
            "first": partial(drivers[0], place, added("by-first")),
            "second": partial(drivers[1], place, added("by-second")),
            "delta-rs": partial(by_delta_rs, snapshot, "by-delta-rs"),
        }
        [winner] = winners(sides, 0.01 * (version % 4))
        assert f"by-{winner}" in text_of(place)
        wins.add(winner)
    assert len(wins) > 1, wins


def test_a_version_that_is_there_is_never_replaced(drivers: list[Write]) -> None:
    place = f"s3://{BUCKET}/a folder/_delta_log/00000000000000000001.json"
    assert drivers[0](place, '{"first": "ä"}')
    assert not drivers[0](place, '{"second": 2}')
    assert not drivers[1](place, '{"second": 2}')
    assert text_of(place) == '{"first": "ä"}\n'


def test_a_commit_whose_answer_was_lost_is_known_as_ours(drivers: list[Write]) -> None:
    """The put is done, its answer is an error; what repeats it is refused by its own commit."""
    place = f"s3://{BUCKET}/answer-lost/1.json"
    assert drivers[0](place, '{"mine": 1}')
    assert not drivers[1](place, '{"theirs": 1}')
    assert text_of(place) == '{"mine": 1}\n'


@pytest.mark.nightly
def test_law_2_two_drivers_and_a_recorder_at_once_lose_no_row(
    store: dict[str, str], log_store_jar: Path
) -> None:
    """Whole commits: a job of Spark, another one, and delta-rs, until both have ended."""
    table = f"s3://{BUCKET}/appended"
    write_deltalake(table, pa.table({"id": pa.array([], pa.int64())}))
    options = ["--jars", ",".join(map(str, [*JARS, log_store_jar]))]
    options += ["--conf", "spark.hadoop.fs.s3a.path.style.access=true"]
    command = [str(Path(sys.executable).parent / "spark-submit"), *options]
    jobs: list[subprocess.Popen[Any]] = [
        subprocess.Popen(
            [*command, "tests/helpers/appends.py", for_spark(table), str(first), str(COMMITS)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for first in (1000, 2000)
    ]
    rows = 0
    retries = CommitProperties(max_commit_retries=1000)
    while any(job.poll() is None for job in jobs):
        more = pa.table({"id": pa.array([rows], pa.int64())})
        write_deltalake(table, more, mode="append", commit_properties=retries)
        rows += 1
        time.sleep(0.2)
    for job in jobs:
        _, told = job.communicate()
        assert job.returncode == 0, told[-4000:]
    found = Snapshot(table).to_pyarrow_table()["id"].to_pylist()
    expected = [*range(rows), *range(1000, 1000 + COMMITS), *range(2000, 2000 + COMMITS)]
    assert sorted(found) == expected
    assert Snapshot(table).version() == rows + 2 * COMMITS
