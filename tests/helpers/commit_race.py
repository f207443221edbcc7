"""Spark's commit step and delta-rs's, at one version of a table and at one moment, again and again.

    python -m tests.helpers.commit_race STORE TRIES FOLDER

STORE is a class of Delta's log stores. Prints one JSON object: tries, those that both sides
believed to have won, commits that were acknowledged and are not there, and how often each side won.
"""

import json
import multiprocessing
import random
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from ctypes import c_int
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

PER_TABLE = 200  # tries: a longer log would take longer to open than to commit to
SCHEMA = pa.schema([("a", pa.int64())])


class Shared(NamedTuple):
    """What the two processes tell each other."""

    go: Any  # number of the try that begins, -1 when all is over
    done: Any  # number of the last try that Spark's side has ended, -1 before it is ready
    won: Any  # whether it believes to have committed
    took_us: Any  # how long that took


def shared(context: SpawnContext) -> Shared:
    return Shared(*(context.Value(c_int, start, lock=False) for start in (0, -1, 0, 0)))


def place(folder: Path, number: int) -> tuple[Path, int]:
    """The table of a try, and the version that both sides commit."""
    table, version = divmod(number - 1, PER_TABLE)
    return folder / f"table{table}", version + 1


def commit_of(table: Path, version: int) -> Path:
    return table / "_delta_log" / f"{version:020d}.json"


def added(name: str) -> str:
    return json.dumps(
        {"add": {"path": name, "size": 1, "partitionValues": {}, "modificationTime": 0,
                 "dataChange": True}}
    )  # fmt: skip


def sparks_side(store: str, folder: Path, told: Shared) -> None:
    """The log store in a JVM of its own, one write a try."""
    import pyspark
    from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway
    from py4j.protocol import Py4JJavaError

    jars = str(Path(pyspark.__file__).parent / "jars" / "*")
    port, token = launch_gateway(classpath=jars, die_on_exit=True, enable_auth=True)
    jvm = JavaGateway(gateway_parameters=GatewayParameters(port=port, auth_token=token)).jvm
    configuration = jvm.org.apache.hadoop.conf.Configuration()
    writer = (
        jvm.java.lang.Class.forName(store)
        .getConstructors()[0]
        .newInstance(_array(jvm, configuration))
    )
    number, told.done.value = 0, 0
    while True:
        number += 1
        lines = jvm.java.util.ArrayList()
        lines.add(added(f"spark-{number}"))
        lines, path = lines.iterator(), commit_of(*place(folder, number))
        path = jvm.org.apache.hadoop.fs.Path(path.as_uri())
        while told.go.value < number:
            if told.go.value < 0:
                return
            time.sleep(0)
        began = time.perf_counter()
        try:
            writer.write(path, lines, False, configuration)
            told.won.value = 1
        except Py4JJavaError as error:
            if "FileAlreadyExists" not in str(error):
                raise
            told.won.value = 0
        told.took_us.value = int(1e6 * (time.perf_counter() - began))
        told.done.value = number


def _array(jvm: Any, one: Any) -> Any:
    objects = jvm.java.lang.reflect.Array.newInstance(
        jvm.java.lang.Class.forName("java.lang.Object"), 1
    )
    objects[0] = one
    return objects


def commit_by_delta_rs(table: Path, name: str) -> Callable[[], bool]:
    """A commit of the next version, prepared; whether delta-rs believes that it was made."""
    from deltalake import CommitProperties
    from deltalake import DeltaTable as Snapshot
    from deltalake.exceptions import DeltaError
    from deltalake.transaction import AddAction

    snapshot = Snapshot(str(table))
    schema = snapshot.schema()
    action = AddAction(name, 1, {}, 0, True, '{"numRecords":1}')

    def commit() -> bool:
        try:
            snapshot.create_write_transaction(
                [action], "append", schema,
                commit_properties=CommitProperties(max_commit_retries=0),
            )  # fmt: skip
        except DeltaError:
            return False
        return True

    return commit


def race(store: str, tries: int, folder: Path) -> dict[str, int]:
    """All tries; delta-rs waits a part of the time that Spark's last writes took."""
    from deltalake import DeltaTable as Snapshot

    context = multiprocessing.get_context("spawn")
    told = shared(context)
    other = context.Process(target=sparks_side, args=(store, folder, told), daemon=True)
    other.start()
    dice, took = random.Random(tries), [2_000]
    found = dict.fromkeys(("tries", "both", "lost", "spark", "delta_rs"), 0)
    _wait(other, lambda: told.done.value >= 0)
    for number in range(1, tries + 1):
        table, version = place(folder, number)
        if version == 1:
            shutil.rmtree(table, ignore_errors=True)
            Snapshot.create(str(table), SCHEMA)
        commit = commit_by_delta_rs(table, f"delta-rs-{number}")
        told.go.value = number
        time.sleep(dice.uniform(0, 1.5e-6 * statistics.median(took[-50:])))
        mine = commit()
        _wait(other, lambda: told.done.value >= number)  # noqa: B023 - called at once
        took.append(told.took_us.value)
        theirs, there = bool(told.won.value), commit_of(table, version).read_text()
        found["tries"] += 1
        found["both"] += mine and theirs
        found["lost"] += mine and f'"delta-rs-{number}"' not in there
        found["lost"] += theirs and f'"spark-{number}"' not in there
        found["spark"] += theirs
        found["delta_rs"] += mine
    told.go.value = -1
    other.join(30)
    return found


def _wait(other: Any, true: Callable[[], bool]) -> None:
    while not true():
        assert other.is_alive(), "the other side has ended"
        time.sleep(0)


if __name__ == "__main__":
    print(json.dumps(race(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]).resolve())))
