"""Spark's options for small data: sessions that take two thirds of the time, chosen by size.

A query over a thousand rows takes longer to compile and to plan again than to run. Where the tables
of a warehouse are small, a command that starts Spark itself starts it so; a sample is the same
either way. What spark-submit, spark-defaults.conf or SPARK_SUBMIT_OPTS set stays as they set it,
and under spark-submit, whose Java is running already, nothing is chosen.

`TENFORWARD_SMALL_DATA`: `auto` (by size, the default), `yes` or `no`.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from pyspark import SparkContext
from pyspark.sql import SparkSession

from schemas.errors import ConfigurationError
from schemas.foreign import ForeignTable
from schemas.foreign_files import files_of
from schemas.places import within
from spark_jobs.storage import logs

VARIABLE = "TENFORWARD_SMALL_DATA"
CHOICES = ("auto", "yes", "no")
JAVA = "SPARK_SUBMIT_OPTS"  # Java's own options, before it starts

# Up to so many bytes of tables: the largest measured, where it still pays (docs/small-data.md).
MOST_BYTES = 128 << 20

SPARK = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    # Without re-planning nothing brings a shuffle's 200 partitions together again.
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "2",
}
# Compile quickly rather than well: a session of a minute or two never sees the better code.
QUICK = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m"


def is_small(root: str, names: Iterable[str], elsewhere: Iterable[ForeignTable] = ()) -> bool:
    """Whether the session of a warehouse is one for small data: by the variable, else by the bytes
    of its tables, from their logs, and of those elsewhere that it reads.

    Raises ConfigurationError for another value of the variable.
    """
    chosen = os.environ.get(VARIABLE) or "auto"
    if chosen not in CHOICES:
        raise ConfigurationError(
            f"{VARIABLE} = {chosen!r}: not one of {', '.join(CHOICES)}. Remedy: correct it, or"
            " leave it out."
        )
    if chosen != "auto":
        return chosen == "yes"
    total = 0
    for name in names:
        path = within(root, name)
        total += sum(file["bytes"] for file in logs.files(path)) if logs.exists(path) else 0
        if total > MOST_BYTES:
            return False
    return total + sum(file.bytes for one in elsewhere for file in files_of(one)) <= MOST_BYTES


def starts_java() -> bool:
    """Whether this process will start Java itself: under spark-submit it runs already, and so it
    does once there is a session."""
    return SparkContext._gateway is None and "PYSPARK_GATEWAY_PORT" not in os.environ


def archive() -> str:
    """Java's options that map the classes which set-up has archived; none where there is no
    archive. One that does not fit is passed over, in silence, as Java would complain on stdout."""
    file = Path(sys.prefix) / "spark.jsa"
    return f"-XX:SharedArchiveFile={file} -Xlog:cds*=off" if file.exists() else ""


def started(builder: SparkSession.Builder, *, small: bool, lasts: bool = False) -> SparkSession:
    """The running session, or a new one; small: for small data, where nobody else says otherwise.

    lasts: whether it will be used for many minutes. Java, where this process starts it, maps the
    archived classes in any case.
    """
    fresh = starts_java()
    with _java(archive(), QUICK if small and not lasts else "") if fresh else nullcontext():
        spark = builder.getOrCreate()
    if small and fresh:
        given = spark.sparkContext.getConf()
        for key, value in SPARK.items():
            if not given.contains(key):
                spark.conf.set(key, value)
    return spark


@contextmanager
def _java(*options: str) -> Iterator[None]:
    """Java that is started meanwhile has these options; of two that differ the user's own wins."""
    before = os.environ.get(JAVA)
    os.environ[JAVA] = " ".join(part for part in (*options, before) if part)
    try:
        yield
    finally:
        if before is None:
            del os.environ[JAVA]
        else:
            os.environ[JAVA] = before
