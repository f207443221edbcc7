"""Names that collide, and names that SQL, Python or Spark read as something else, are refused."""

from pathlib import Path

import pytest

from tests.helpers.mistakes import (
    AGAIN,
    DISTANCE,
    FLIGHTS,
    cases,
    column,
    faults,
    feature,
    require_one_fault,
)

NAMES = {
    **{
        f"features.{name}": (FLIGHTS, [feature(name)], f"have a column '{name}' of their own")
        for name in ("weight", "offset", "probability", "position", "label", "instance_id")
    },
    **{
        f"features.{name}": (FLIGHTS, [feature(name)], f"have a column '{name}' of their own")
        for name in ("refresh_id", "event_time", "segments", "forward", "trains")
    },
    **{
        f"features.{name}": (FLIGHTS, [feature(name)], "a word of Python")
        for name in ("class", "lambda", "self", "import")
    },
    **{
        f"features.{name}": (FLIGHTS, [feature(name)], "a word of SQL")
        for name in ("interval", "true", "select")
    },
    "instances.columns.interval": (
        FLIGHTS,
        [column("instances", 'interval = { type = "float32" }')],
        "a word of SQL",
    ),
    "labels.columns.exists": (
        FLIGHTS,
        [column("labels", 'exists = { type = "float32" }')],
        "a word of SQL",
    ),
    "feature_views.weather.columns.trim": (
        FLIGHTS,
        [("temp = {", 'trim = { type = "float32" }\ntemp = {')],
        "a word of SQL",
    ),
    "instances.columns.event_date": (
        FLIGHTS,
        [column("instances", 'event_date = { type = "date" }')],
        "instances has a column 'event_date'",
    ),
    "instances.columns.known_at": (
        FLIGHTS,
        [column("instances", 'known_at = { type = "timestamp" }')],
        "when a label became known",
    ),
    "labels.columns.instance_id": (
        FLIGHTS,
        [column("labels", 'instance_id = { type = "string" }')],
        "labels has a column 'instance_id'",
    ),
    "labels.label": (
        FLIGHTS,
        [column("instances", 'late = { type = "float64" }')],
        "is a column of [instances.columns] too",
    ),
    "instances.columns.Carrier": (
        FLIGHTS,
        [column("instances", 'Carrier = { type = "string" }')],
        "use a lower-case letter",
    ),
    "feature_views.weather.timestamp_field": (
        FLIGHTS,
        [('created_timestamp_column = "published_at"', 'created_timestamp_column = "observed_at"')],
        "is timestamp_field and created_timestamp_column",
    ),
    "feature_views.weather.entity": (
        FLIGHTS,
        [('entity = ["origin"]', 'entity = ["origin", "origin"]')],
        "'origin' stands twice in entity",
    ),
    "feature_views": (
        FLIGHTS,
        [("[features]", f"{AGAIN}[features]")],
        "'weather' stands twice",
    ),
    "instances.segments": (
        FLIGHTS,
        [('["origin", "carrier"]', '["origin", "origin"]')],
        "'origin' stands twice",
    ),
    "features.again": (
        FLIGHTS,
        [(DISTANCE, f'{DISTANCE}\nagain = {{ kind = "number", source = "instances.distance" }}')],
        "reads instances.distance just as features.distance does",
    ),
}

LOG = """
[records]
path = "log"
instance_id = "ID"
event_time = "T"
model_version = { value = "m" }
prediction = { column = "p", kind = "probability" }
segments = ["o", "c"]
"""


def log(old: str, new: str) -> tuple[str, str]:
    """A log with something changed in its description."""
    assert old in LOG
    return "[gate]", LOG.replace(old, new) + "[gate]"


RECORDS = {
    "records.event_time": (FLIGHTS, [log('"T"', '"id"')], "'id' is already records.instance_id"),
    "records.prediction.column": (FLIGHTS, [log('"p"', '"t"')], "already records.event_time"),
    "records.segments": (FLIGHTS, [log('"c"', '"O"')], "the column 'o' stands twice"),
    "records.prediction.kind": (
        FLIGHTS,
        [log("probability", "logits")],
        "not what a binary task records. Remedy: use probability or logit",
    ),
    "records.model_version": (FLIGHTS, [log('{ value = "m" }', "{}")], "neither column nor value"),
    "records.format": (
        FLIGHTS,
        [log('path = "log"', 'path = "log"\nformat = "csv"')],
        'format = "csv": none of delta, parquet',
    ),
    "records.instance_id": (FLIGHTS, [log('"ID"', '"a`b"')], "a backtick"),
}


@pytest.mark.parametrize(("file", "changes", "field", "words"), cases(NAMES, RECORDS))
def test_law_7_a_name_that_means_something_else_is_refused(
    tmp_path: Path, file: Path, changes: list[tuple[str, str]], field: str, words: str
) -> None:
    require_one_fault(faults(tmp_path, file, *changes), field, words)
