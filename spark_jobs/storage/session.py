"""The Spark session of every job: it sets what correctness needs and leaves the rest to conf."""

import signal
import subprocess
from types import FrameType

from pyspark import SparkContext
from pyspark.sql import SparkSession

from schemas.errors import ConfigurationError
from schemas.signals import end_with_command
from spark_jobs.storage import small_data
from spark_jobs.storage.spark_progress import join_progress

_JVM_S = 10.0

# How a version of a table is committed, by where it is: never twice, whoever else commits.
LOG_STORES = {
    "spark.delta.logStore.file.impl": "tenforward.LinkLogStore",
    "spark.delta.logStore.s3a.impl": "tenforward.ConditionalPutLogStore",
}

# No master, no memory, no parallelism: those belong to spark-submit, --conf and properties files.
REQUIRED = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
    **LOG_STORES,
    # An overflow or a failed cast is an error, never a null that selection would take for missing.
    "spark.sql.ansi.enabled": "true",
    # A folder key=007 holds "007"; of its own accord Spark would make the number 7 of it.
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
    # Any other limit makes Spark 4.0 measure the whole Arrow batch after every row on its way to
    # Python, which for list columns takes time in the square of the batch: 190 s for 2 million
    # rows instead of 62, on a cold JVM. The number of rows bounds a batch all the same.
    "spark.sql.execution.arrow.maxBytesPerBatch": str(2**31 - 1),
    # Without it Spark sorts all rows by the partition's name before it writes them, even where
    # there is one: a refresh, a day. Beyond so many open files in a task it sorts what is left.
    "spark.sql.maxConcurrentOutputFileWriters": "2",
    # Of a wide table that is joined with a few chosen ids, only these rows are shuffled: Spark lets
    # the ids make a Bloom filter, 4 MB for 4 million of them. It is for tables of more than this.
    "spark.sql.optimizer.runtime.bloomFilter.enabled": "true",
    "spark.sql.optimizer.runtime.bloomFilter.applicationSideScanSizeThreshold": "64MB",
    "spark.sql.optimizer.runtime.bloomFilter.creationSideThreshold": "1TB",
    "spark.sql.optimizer.runtime.bloomFilter.expectedNumItems": "4000000",
    "spark.sql.optimizer.runtime.bloomFilter.numBits": str(2**25),
}


def spark_session(name: str, *, small: bool = False, lasts: bool = False) -> SparkSession:
    """The running session, or a new one; small, lasts: see `small_data.started`.

    Raises ConfigurationError where Delta or the log stores are not to be had.
    """
    builder = SparkSession.builder.appName(f"tenforward {name}")
    before = signal.getsignal(signal.SIGINT)
    for key, value in REQUIRED.items():
        builder = builder.config(key, value)
    spark = small_data.started(builder, small=small, lasts=lasts)
    if signal.getsignal(signal.SIGINT) is not before:  # a new context, whose handler it is
        _interrupt_for_certain()
        join_progress(spark.sparkContext)
        end_with_command(_end_jvm)
    spark.sparkContext.setLogLevel("ERROR")
    loader = spark._jvm.java.lang.Thread.currentThread().getContextClassLoader()  # type: ignore[union-attr]
    if loader.getResource("io/delta/sql/DeltaSparkSessionExtension.class") is None:
        raise ConfigurationError(
            "Delta's jars are not on Spark's class path. Remedy: run `make setup`, or give"
            " spark-submit the two as --jars: delta-spark_4.1_2.13-4.4.0, delta-storage-4.4.0."
        )
    for setting, store in LOG_STORES.items():
        if loader.getResource(f"{store.replace('.', '/')}.class") is None:
            raise ConfigurationError(
                f"The log store {store} is not on Spark's class path. Remedy: run `make setup`, or"
                " give spark-submit dist/tenforward-log-store.jar (`make zip`) among its --jars."
            )
        if spark.sparkContext.getConf().get(setting) != store:
            raise ConfigurationError(
                f"{setting}: not set in the running Spark context, which was started by another"
                f" program. Remedy: start it with --conf {setting}={store}."
            )
    return spark


def _end_jvm() -> None:
    """End the JVM that this process has started, which would otherwise outlive it for a while; one
    that spark-submit has started is its parent."""
    process = getattr(SparkContext._gateway, "proc", None)
    if process is None:
        return
    process.stdin.close()  # it ends itself at the end of its input
    try:
        process.wait(_JVM_S)
    except subprocess.TimeoutExpired:
        process.kill()


def _interrupt_for_certain() -> None:
    """Ctrl-C is a KeyboardInterrupt even where PySpark's handler fails before it raises one.

    The handler asks the JVM to cancel all jobs. Where Ctrl-C came while an answer of the JVM was
    read, or the JVM was gone first, that fails: its error would be taken for the job's own.
    """
    cancel = signal.getsignal(signal.SIGINT)
    assert callable(cancel)

    def handler(number: int, frame: FrameType | None) -> None:
        try:
            cancel(number, frame)
        except Exception as error:
            raise KeyboardInterrupt from error

    signal.signal(signal.SIGINT, handler)
