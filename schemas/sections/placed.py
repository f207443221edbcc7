"""Where a table is that exists already: the settings that `[instances]`, `[labels]` and every
`[[feature_views]]` share. Without them the table is tenforward's own, in the warehouse."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from schemas.places import BY_ENVIRONMENT, HOLDS_A_USER, is_remote, names_a_user
from schemas.sections.fault import Fault, Wrong
from schemas.sections.section import Section

_TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*){0,2}")
_SCHEMES = ("s3", "s3a")
# Settings that say how columns are called, or come about, in a table elsewhere.
MAPS = (
    *("instance_id", "event_time", "event_date", "known_at"),
    *("known_at_commit", "known_after", "names"),
)


def left_out(description: str) -> Any:
    """A setting that is None where nothing is said, and then stands in no dump: a pipeline without
    it has the digest that it had."""
    return Field(default=None, description=description, exclude_if=lambda value: value is None)


def _column(name: str) -> str:
    if not name or "`" in name or not name.isprintable():
        remedy = "name a column"
        raise Wrong(Fault("", name, "empty, or with a character that Spark cannot quote", remedy))
    return name


def _path(place: str) -> str:
    if names_a_user(place):
        raise Wrong(Fault("", None, HOLDS_A_USER, BY_ENVIRONMENT))
    if is_remote(place):
        scheme = place.partition("://")[0]
        if scheme not in _SCHEMES:
            remedy = "name a folder, or a URI such as s3://bucket/prefix"
            raise Wrong(Fault("", place, f"tables are not read from {scheme}://", remedy))
    elif not place.startswith("/"):
        # A DAG's task and a command by hand begin in other folders.
        raise Wrong(Fault("", place, "not a whole path", "write it from the root on"))
    return place.replace("s3a://", "s3://", 1).rstrip("/") or place


def _table(name: str) -> str:
    if not _TABLE.fullmatch(name):
        remedy = "write it as catalog.schema.table, each a word of letters, digits and _"
        raise Wrong(Fault("", name, "no name of a table", remedy))
    return name


ColumnName = Annotated[str, AfterValidator(_column), Field(max_length=255)]


class Placed(Section):
    """Where a table is that is somebody else's: read in place, and never written to."""

    path: Annotated[str, AfterValidator(_path)] | None = left_out(
        "Folder or URI of a table that exists, to be read in place; none: in the warehouse."
    )
    table: Annotated[str, AfterValidator(_table)] | None = left_out(
        "Its name in Spark's catalog instead, as catalog.schema.table."
    )
    format: Literal["delta", "parquet"] | None = left_out("Of the path; delta if absent.")

    @property
    def is_foreign(self) -> bool:
        """Whether the table is somebody else's."""
        return self.path is not None or self.table is not None

    @model_validator(mode="after")
    def _place_fits(self) -> "Placed":
        if self.path is not None and self.table is not None:
            problem = f"path = {self.path!r} says already where the table is"
            raise Wrong(Fault("table", self.table, problem, "write one of the two"))
        if self.format is not None and self.path is None:
            problem = "only of a path; the catalog knows the format of its tables"
            raise Wrong(Fault("format", self.format, problem, "remove it, or write path"))
        return self
