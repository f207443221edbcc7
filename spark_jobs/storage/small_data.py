"""Spark's options for small data: sessions that take two thirds of the time, chosen by size.

A query over a thousand rows takes longer to compile and to plan again than to run. Where the tables
of a warehouse are small, a session has these options; a sample is the same either way. What
spark-submit, spark-defaults.conf or SPARK_SUBMIT_OPTS set stays as they set it. Java's own options
are for commands that start Java: under spark-submit it is running already.

`TENFORWARD_SMALL_DATA`: `auto` (by size, the default), `yes` or `no`.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext

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


def is_small(
    root: str,
    names: Iterable[str],
    elsewhere: Iterable[ForeignTable] = (),
    *,
    though_empty: bool = True,
) -> bool:
    """Whether the session of a warehouse is one for small data: by the variable, else by the bytes
    of its tables, from their logs, and of those elsewhere that it reads.

    though_empty: whether tables without a row are small; a cluster's job may be about to fill them.
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
    total += sum(file.bytes for one in elsewhere for file in files_of(one))
    return total <= MOST_BYTES and (though_empty or total > 0)


def starts_session() -> bool:
    """Whether Spark has still to be started in this process."""
    return SparkContext._active_spark_context is None


def starts_java() -> bool:
    """Whether this process will start Java itself: under spark-submit it runs already, and so it
    does once there is a session."""
    return SparkContext._gateway is None and "PYSPARK_GATEWAY_PORT" not in os.environ


def started(builder: SparkSession.Builder, *, small: bool, lasts: bool = False) -> SparkSession:
    """The running session, or a new one; small: for small data, where nobody else says otherwise.

    lasts: whether it will be used for many minutes, so that Java had better compile well.
    """
    fresh = starts_session()
    with _java(QUICK) if small and not lasts and starts_java() else nullcontext():
        spark = builder.getOrCreate()
    if small and fresh:
        given = spark.sparkContext.getConf()
        for key, value in SPARK.items():
            if not given.contains(key):
                spark.conf.set(key, value)
    return spark


@contextmanager
def _java(options: str) -> Iterator[None]:
    """Java that is started meanwhile has these options; of two that differ the user's own wins."""
    before = os.environ.get(JAVA)
    os.environ[JAVA] = f"{options} {before or ''}".rstrip()
    try:
        yield
    finally:
        if before is None:
            del os.environ[JAVA]
        else:
            os.environ[JAVA] = before
