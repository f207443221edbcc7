"""A Spark driver that appends to a table, a commit a row, beside whoever else does:

spark-submit tests/helpers/appends.py TABLE FIRST COUNT
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # spark-submit puts this folder first

from spark_jobs.storage.session import spark_session


def main(table: str, first: int, count: int) -> None:
    """Append the numbers from `first` on."""
    spark = spark_session("appends")
    for number in range(first, first + count):
        rows = spark.range(number, number + 1).coalesce(1)
        rows.write.format("delta").mode("append").save(table)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
