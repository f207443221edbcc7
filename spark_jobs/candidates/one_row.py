"""One row an instance: rows that say the same are one, and of rows that differ none can be used."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.errors import DataQualityError
from schemas.findings import DIFFERS, KINDS

FEW = 5  # ids that are named


def repeat(instances: DataFrame, path: str) -> bool:
    """Whether an id stands on several rows, which then say the same.

    instances: rows of the table at `path`. Raises DataQualityError where rows of one id differ.
    """
    repeated = repeated_ids(instances)
    if repeated.isEmpty():
        return False
    require_same(instances, repeated, path)
    return True


def repeated_ids(instances: DataFrame) -> DataFrame:
    """instance_id of those that stand on several rows."""
    named = instances.where("instance_id IS NOT NULL").groupBy("instance_id").count()
    return named.where("count > 1").select("instance_id")


def require_same(instances: DataFrame, repeated: DataFrame, path: str) -> None:
    """Refuse rows of one id that differ, by DataQualityError. repeated: ids that stand twice."""
    differing = differing_ids(instances.join(F.broadcast(repeated), "instance_id", "left_semi"))
    count = differing.count()
    if not count:
        return
    few = [row["instance_id"] for row in differing.orderBy("instance_id").limit(FEW).collect()]
    elsewhere = differing.where("times > 1").count()
    raise DataQualityError(
        f"table instances, instance_id = {', '.join(few)}{', ...' if count > FEW else ''}:"
        f" {count} ids stand on rows that differ, {elsewhere} of them at several event times;"
        f" nothing was written. Remedy: {KINDS[DIFFERS].remedy.format(path=path)}.",
        instances=few,
        count=count,
    )


def differing_ids(instances: DataFrame) -> DataFrame:
    """instance_id, `rows` that differ, and the number of event `times`, of ids with several."""
    apart = instances.dropDuplicates().groupBy("instance_id")
    rows = apart.agg(F.count("*").alias("rows"), F.count_distinct("event_time").alias("times"))
    return rows.where("rows > 1")
