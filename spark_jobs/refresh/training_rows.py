"""The rows to train on and to judge by: only the chosen ones meet the features of the store."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from spark_jobs.features.point_in_time import with_features
from spark_jobs.features.segments import segment_keys
from spark_jobs.refresh.plan import RefreshPlan
from spark_jobs.storage.settle import Keep, driver_rows, settle
from spark_jobs.storage.warehouse import Warehouse

_DECIDED = "tenforward_decided"  # beside the user's own columns, so not a name of theirs


def wanted_rows(drawn: DataFrame, held_out: DataFrame) -> DataFrame:
    """Drawn and held-out rows without their features; `trains` tells them apart. They have a
    `row_weight`, which is in a drawn row's weight already, where the held-out rows do."""
    own = ["row_weight"] if "row_weight" in held_out.columns else []
    trained = drawn.select(
        "instance_id",
        "label",
        "weight",
        "offset",
        "probability",
        "position",
        *own,
        F.lit(True).alias("trains"),
    )
    order = F.row_number().over(Window.orderBy("instance_id")) - 1
    kept = held_out.select(
        "instance_id",
        "label",
        F.lit(0.0).alias("weight"),
        F.lit(0.0).alias("offset"),
        F.lit(1.0).alias("probability"),
        order.cast("bigint").alias("position"),
        *own,
        F.lit(False).alias("trains"),
    )
    return trained.unionByName(kept)


def training_rows(
    warehouse: Warehouse,
    plan: RefreshPlan,
    wanted: DataFrame,
    at_most: int,
    keep: Keep,
    *,
    repeats: bool = False,
) -> DataFrame:
    """Drawn and held-out rows with their features: one point-in-time join for both.

    keep: notes what has to stay cached until the rows are computed (`letting_go`). repeats: whether
    an instance may stand on several rows, which then say the same.
    """
    instances = warehouse.read("instances", plan.versions["instances"]).where(
        F.col("event_date").between(F.lit(plan.window_start), F.lit(plan.ds))
    )
    # Only the chosen ids meet the wide rows: nine tenths of the feature join is never done. Where
    # they are few they go to the wide rows, which then stay where they are; where they are many, a
    # Bloom filter of them does (see `session`): Spark makes one of rows that passed a filter.
    few = at_most <= driver_rows(warehouse.spark)
    decided = F.struct(*(name for name in wanted.columns if name != "instance_id"))
    decisions = wanted.where("position >= 0").select("instance_id", decided.alias(_DECIDED))
    chosen = instances.join(F.broadcast(decisions) if few else decisions, "instance_id", "inner")
    chosen = keep(settle(chosen.dropDuplicates() if repeats else chosen, at_most))
    features = with_features(warehouse, chosen, plan.versions).drop("event_time")
    narrow = chosen.select(
        "instance_id",
        f"{_DECIDED}.*",
        segment_keys(warehouse.pipeline.instances.segments).alias("segments"),
        (F.col("event_date") > F.lit(plan.last_drawn)).alias("forward"),
    )
    numbers = (
        "label",
        "weight",
        "offset",
        *(["row_weight"] if "row_weight" in wanted.columns else []),
    )
    return (
        features.join(F.broadcast(narrow) if few else narrow, "instance_id", "inner")
        .withColumns({name: F.col(name).cast("float") for name in numbers})
        .withColumn("refresh_id", F.lit(plan.refresh_id))
    )


def in_files(rows: DataFrame, files: int, count: int) -> DataFrame:
    """Rows in `files` partitions of equal size, by position: Spark writes one file of each."""
    files = max(1, min(files, count))
    number = F.floor(F.col("position") * files / F.lit(count)).cast("int")
    return rows.repartitionById(files, number).sortWithinPartitions("refresh_id", "position")
