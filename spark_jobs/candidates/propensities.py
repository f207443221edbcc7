"""With which chance rows came to be here: what selection divides weights by.

A record has the chance with which its log kept it, and an instance may have been asked for its
label by chance. A row is there where both came about, so that the two multiply.
"""

from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from schemas.asked import propensities
from spark_jobs.storage.warehouse import Warehouse

ASKED_WITH = "asked_with"


def with_asked(
    warehouse: Warehouse, records: DataFrame, version: int | None, cut: datetime
) -> DataFrame:
    """The records with `asked_with`, the chance with which their instance was asked for its label
    by `cut`; null where it was not, and no such column where nobody had been asked at that version
    of the table."""
    asked = propensities(warehouse.root, version, cut)
    if not asked.num_rows:
        return records
    named = asked.rename_columns(["instance_id", ASKED_WITH])
    chances = warehouse.spark.createDataFrame(named)
    return records.join(F.broadcast(chances), "instance_id", "left")


def propensity(records: DataFrame) -> Column:
    """The chance with which each record, or its label, came to be here; null for 1. In Arrow:
    `arrow_narrow.times_asked`."""
    kept = F.col("propensity")
    if ASKED_WITH not in records.columns:
        return kept
    asked = F.col(ASKED_WITH)
    return F.coalesce(kept * asked, kept, asked)
