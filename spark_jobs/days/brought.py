"""Records that somebody else brings: whether those of a day have come, by the tables' logs."""

from datetime import date
from typing import Any

from schemas.pipeline import Pipeline
from schemas.places import within
from schemas.sections.records import Source
from spark_jobs.storage import logs

_REMEDY: dict[Source, str] = {
    "online": "a server's recorder brings them: see its metrics and its journal",
    "import": "`tenforward import-records` brings them",
}


def brought(pipeline: Pipeline, warehouse: str, ds: date) -> dict[str, Any]:
    """The result of a day whose records come from a server's recorder or from a log: `already done`
    where it has some, else `nothing to do`, with the reason."""
    source = pipeline.records_from
    logs.require_owned(pipeline, warehouse, "forward_records")
    instances, records = (
        logs.rows_by_date(within(warehouse, name)).get(ds, 0)
        for name in ("instances", "forward_records")
    )
    status = "already done" if records else "nothing to do"
    told = {"status": status, "pipeline": pipeline.name, "ds": ds, "source": source}
    told |= {"instances": instances, "records": records}
    if records:
        return told
    none = f"no record of {ds} has come, of {instances:,} instances"
    return told | {"reason": f"{none} (records.source is {source!r}: {_REMEDY[source]})"}
