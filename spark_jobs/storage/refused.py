"""A query that refuses a row: the error keeps its exit code on its way to the driver."""

from pyspark.sql import Column
from pyspark.sql import functions as F

from schemas.errors import MARK, DataQualityError


def refuse(message: Column) -> Column:
    """`raise_error` with a message that `schemas.faults` makes a DataQualityError again."""
    told = F.struct(F.lit(DataQualityError.exit_code).alias("exit_code"), message.alias("message"))
    return F.raise_error(F.concat(F.lit(MARK), F.to_json(told)))
