"""What becomes of records that cannot be used: kept as they came, with the reason."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from spark_jobs.warehouse import Warehouse


def reject(warehouse: Warehouse, records: DataFrame, reason: Column, batch: str) -> int:
    """Append `records` to `forward_rejects`, once a batch; the version that holds them.

    records: any columns, instance_id and event_date among them.
    """
    as_it_came = F.to_json(F.struct("*"))
    rows = records.select(
        "instance_id",
        "event_date",
        F.lit(batch).alias("batch_id"),
        reason.alias("reason"),
        as_it_came.alias("record"),
        F.current_timestamp().alias("rejected_at"),
    )
    return warehouse.append_once(rows, "forward_rejects", batch)
