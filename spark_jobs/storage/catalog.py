"""Tables that a pipeline file names as in Spark's catalog: asked for where they are, and that is
written down in the warehouse for commands that have no Spark."""

import re

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from schemas.catalog_places import places_told, write_places
from schemas.errors import ConfigurationError, ConflictError
from schemas.foreign import foreign_sections, section_name
from schemas.pipeline import Pipeline

_FORMATS = ("delta", "parquet")


def find_places(spark: SparkSession, pipeline: Pipeline, warehouse: str) -> None:
    """Ask where the tables are, and write it down.

    Raises ConfigurationError for a name that is no table of files, ConflictError where one is at
    another place than was written down: what the command has read until then is of the old one.
    """
    sections = foreign_sections(pipeline).items()
    named = {name: section.table for name, section in sections if section.table is not None}
    if not named:
        return
    before = places_told(warehouse)
    now = {name: _found(spark, name, table) for name, table in named.items()}
    if now == before:
        return
    write_places(warehouse, now)
    for name, found in now.items():
        then = before.get(name)
        if then is not None and then["table"] == found["table"] and then != found:
            raise ConflictError(
                f'{section_name(name)}.table = "{found["table"]}": the catalog has it at'
                f" {found['place']} ({found['format']}) now, and had it at {then['place']}"
                f" ({then['format']}). Remedy: repeat the command; refreshes that were drawn from"
                " the table before cannot be rebuilt, unless it is put back."
            )


def _found(spark: SparkSession, name: str, table: str) -> dict[str, str]:
    """Table, place and format of a name in the catalog."""
    field = f'{section_name(name)}.table = "{table}"'
    quoted = ".".join(f"`{part}`" for part in table.split("."))  # words, by the pipeline's rules
    try:
        rows = spark.sql(f"DESCRIBE TABLE EXTENDED {quoted}").collect()
    except PySparkException as error:
        said = (error.getMessage() or str(error)).splitlines()[0]
        raise ConfigurationError(
            f"{field}: Spark's catalog does not have it ({said}). Remedy: correct the name, or give"
            " Spark the catalog (its spark.sql.catalog settings in spark-defaults.conf, or by"
            " spark-submit --conf)."
        ) from error
    told = {row["col_name"].strip(): row["data_type"] for row in rows}
    if "VIEW" in told.get("Type", "").upper() or "Location" not in told:
        raise ConfigurationError(
            f"{field}: a view, which has no files and no versions to pin. Remedy: name the table"
            " that it reads, and map its columns here; or write the view's rows into a table."
        )
    form = told.get("Provider", "").lower()
    if form not in _FORMATS:
        raise ConfigurationError(
            f"{field}: a table of format {form or 'unknown'}. Remedy: name one of Delta or Parquet."
        )
    return {"table": table, "place": _place(field, told["Location"]), "format": form}


def _place(field: str, location: str) -> str:
    """A location of Spark's as the rest of the world writes it."""
    local = re.fullmatch(r"file:/+(.*)", location)
    if local is not None:
        return f"/{local[1].rstrip('/')}"
    place = location.replace("s3a://", "s3://", 1).rstrip("/")
    if not place.startswith(("s3://", "/")):
        raise ConfigurationError(
            f"{field}: is at {place}, where only Spark can read. Remedy: name a table in a folder"
            " or on S3."
        )
    return place
