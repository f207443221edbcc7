"""A Spark standalone cluster on loopback: a master and workers, processes of their own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyspark

BIN = Path(sys.executable).parent
SPARK = Path(pyspark.__file__).parent
# As in the Makefile: quick to start, and right for sessions of a minute on this machine.
JAVA = f"-XX:TieredStopAtLevel=1 -XX:SharedArchiveFile={BIN.parent / 'spark.jsa'} -Xlog:cds*=off"
PATIENCE = 300.0  # seconds; a machine with other work needs most of it

# What a deployment's own properties file says; nothing of it stands in code.
PROPERTIES = """
spark.master                     spark://127.0.0.1:{port}
spark.driver.host                127.0.0.1
spark.driver.bindAddress         127.0.0.1
spark.executor.cores             1
# First on the path, or Java refuses the archive of classes (setup/spark_conf.sh).
spark.driver.extraClassPath      {jars}
spark.executor.extraClassPath    {jars}
spark.sql.extensions             io.delta.sql.DeltaSparkSessionExtension
spark.sql.catalog.spark_catalog  org.apache.spark.sql.delta.catalog.DeltaCatalog
spark.sql.session.timeZone       UTC
spark.databricks.delta.snapshotPartitions  2
spark.databricks.delta.stats.skipping  false
spark.ui.enabled                 false
spark.eventLog.enabled           true
spark.eventLog.dir               {events}
spark.eventLog.compress          false
spark.eventLog.rolling.enabled   false
"""
# A thousand rows take longer to compile and to re-plan for than to run.
SMALL = f"""
spark.driver.memory              1g
spark.executor.memory            512m
spark.executor.extraJavaOptions  {JAVA}
spark.sql.shuffle.partitions     4
spark.sql.codegen.wholeStage     false
spark.sql.codegen.factoryMode    NO_CODEGEN
spark.sql.adaptive.enabled       false
"""


@dataclass(frozen=True)
class Cluster:
    """Where the cluster is, and what its applications leave."""

    port: int
    folder: Path
    workers: tuple[int, ...]  # process ids

    @property
    def properties(self) -> Path:
        """The properties file of its jobs."""
        return self.folder / "cluster.properties"

    def executors(self) -> list[int]:
        """Process ids of the executors that run now: the workers' children."""
        return [child for worker in self.workers for child in children(worker)]

    def submit(self, options: Sequence[str], job: str, *arguments: str) -> subprocess.Popen[str]:
        """spark-submit of a job file with the cluster's properties and the project's zip."""
        where = ["--properties-file", str(self.properties), "--py-files", "dist/tenforward.zip"]
        return subprocess.Popen(
            [str(BIN / "spark-submit"), *where, *options, f"spark_jobs/{job}.py", *arguments],
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def events(self) -> list[dict[str, Any]]:
        """What Spark logged of the newest application."""
        newest = max((self.folder / "events").iterdir(), key=lambda file: file.stat().st_mtime)
        return [json.loads(line) for line in newest.read_text().splitlines()]


def children(pid: int) -> list[int]:
    """Process ids of a process's children; none where it has gone."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(one) for t in threads for one in (t / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def below(pid: int) -> list[int]:
    """Process ids of its children, of theirs, and so on."""
    return [one for child in children(pid) for one in (child, *below(child))]


def _environment() -> dict[str, str]:
    """This process's, less Spark's and Python's variables, with those of the cluster."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SPARK", "PYTHON"))}
    return kept | {
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_DAEMON_JAVA_OPTS": JAVA,
        "SPARK_DAEMON_CLASSPATH": f"{SPARK}/jars/*",
        "SPARK_SUBMIT_OPTS": JAVA,
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
    }


def _daemon(folder: Path, name: str, kind: str, *options: str) -> subprocess.Popen[bytes]:
    command = [str(BIN / "spark-class"), f"org.apache.spark.deploy.{kind}", "--host", "127.0.0.1"]
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [*command, *options],
            # The launcher that pyspark installs asks for this, and a daemon's log level is its own.
            env=_environment() | {"SPARK_HOME": str(SPARK), "SPARK_LOCAL_DIRS": str(folder / name)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(true: Callable[[], bool], what: str) -> None:
    """Look again and again; fails when it takes too long."""
    patience = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < patience, f"waited too long until {what}"
        time.sleep(0.05)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def standalone(
    folder: Path, workers: int = 2, memory: str = "1g", more: str = SMALL
) -> Iterator[Cluster]:
    """The cluster, meanwhile; its logs and event logs stay in `folder`.

    memory: of each worker, whose one executor has one core. more: properties of
    its jobs beside `PROPERTIES`.
    """
    (folder / "events").mkdir()
    port, ports = free_port(), [free_port() for _ in range(workers)]
    started = [_daemon(folder, "master", "master.Master", "--port", str(port), "--webui-port", "0")]
    try:
        wait_until(lambda: _listens(port), "the master listens")
        sizes = ["--cores", "1", "--memory", memory, "--webui-port", "0"]
        for number, own in enumerate(ports):
            place = ["--port", str(own), "--work-dir", str(folder / f"work{number}")]
            url = f"spark://127.0.0.1:{port}"
            name = f"worker{number}"
            started.append(_daemon(folder, name, "worker.Worker", *sizes, *place, url))
        wait_until(lambda: all(map(_listens, ports)), "the workers listen")
        made = Cluster(port, folder, tuple(daemon.pid for daemon in started[1:]))
        events, jars = (folder / "events").as_uri(), f"{SPARK}/jars/*"
        told = PROPERTIES.format(port=port, jars=jars, events=events)
        made.properties.write_text(told + more)
        yield made
    finally:
        for daemon in reversed(started):
            daemon.send_signal(signal.SIGTERM)
        for daemon in started:
            daemon.wait(30)
