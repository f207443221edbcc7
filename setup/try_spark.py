"""A small life of a Delta table: run by set-up through spark-submit, as proof and as warm-up.

What it makes Spark load ends up in the class-data archive, so it touches what jobs use most.
"""

import sys
import tempfile
from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql import SparkSession, Window
from pyspark.sql import functions as F


def worker_prefix(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Answer with the prefix of the Python that Spark's worker runs."""
    for batch in batches:
        yield pa.RecordBatch.from_pydict({"prefix": [sys.prefix] * batch.num_rows})


def main() -> None:
    """Create, constrain, append to, replace in, compact and read one table."""
    spark = SparkSession.builder.appName("tenforward set-up").getOrCreate()
    with tempfile.TemporaryDirectory() as folder:
        table = f"delta.`{folder}/table`"
        spark.sql(
            f"CREATE TABLE {table} (id BIGINT NOT NULL, loss DOUBLE, ds STRING) "
            "USING DELTA PARTITIONED BY (ds)"
        )
        spark.sql(f"ALTER TABLE {table} ADD CONSTRAINT loss CHECK (loss BETWEEN 0 AND 1e30)")
        rows = spark.range(200).select("id", F.rand(1).alias("loss"))
        for day in ("2013-01-01", "2013-01-02"):
            rows.withColumn("ds", F.lit(day)).write.format("delta").mode("append").save(
                f"{folder}/table"
            )
        newest = Window.partitionBy("id").orderBy(F.desc("loss"))
        spark.table(table).where("ds = '2013-01-02'").join(rows.select("id"), "id").withColumn(
            "place", F.row_number().over(newest)
        ).where("place = 1 AND id < 100").drop("place").write.format("delta").mode(
            "overwrite"
        ).option("replaceWhere", "ds = '2013-01-02'").save(f"{folder}/table")
        spark.sql(f"OPTIMIZE {table}")

        count = spark.read.format("delta").load(f"{folder}/table").count()
        if count != 300:
            sys.exit(f"the table holds {count} rows, not 300")
        prefixes = {row.prefix for row in rows.mapInArrow(worker_prefix, "prefix string").collect()}
        if prefixes != {sys.prefix}:
            sys.exit(f"Spark's workers run the Python of {prefixes}, not of {sys.prefix}")
    spark.stop()


main()
