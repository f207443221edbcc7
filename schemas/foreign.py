"""Tables that are somebody else's: where each is, what our columns are called there, and what of
ours has to be derived. Spark's reader and Arrow's both derive from this, and neither writes.

A name in Spark's catalog is turned into a place by a job that has Spark, which writes it down in
the warehouse (`schemas.catalog_places`) for those that have not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from schemas.catalog_places import place_of_name
from schemas.columns import Table
from schemas.places import within
from schemas.sections.placed import Placed
from schemas.sections.section import parse_duration
from schemas.sections.store import FeatureView, Labels
from schemas.tables import feature_view, instances, labels

if TYPE_CHECKING:
    from schemas.pipeline import Pipeline

ASKED, TOLD = "instances", "labels"


@dataclass(frozen=True)
class ForeignTable:
    """A table elsewhere, as one of ours.

    columns: by our name, theirs; `event_time` also of labels that have one, which ours have not.
    known: of labels, when they became known, where no column says it: the commit that brought the
    row, or so long after the event.
    """

    definition: Table
    section: str  # of the pipeline file, for messages
    place: str
    format: Literal["delta", "parquet"]
    columns: Mapping[str, str]
    known: Literal["commit"] | timedelta | None = None
    named: str | None = None  # in Spark's catalog

    @property
    def name(self) -> str:
        """Our name of it."""
        return self.definition.name

    @property
    def is_dated(self) -> bool:
        """Whether it is read by event date, as instances and labels are."""
        return "event_date" in self.definition.column_names

    @property
    def asks_instances(self) -> bool:
        """Whether the moment of an event is that of the instance: its own rows do not say it."""
        wants = "event_date" not in self.columns or isinstance(self.known, timedelta)
        return self.name == TOLD and wants and "event_time" not in self.columns

    def derivation(self, column: str) -> str:
        """In words, where a column of ours comes from that has none there."""
        if column == "known_at" and self.known == "commit":
            return "(the commit that brought the row)"
        moment = "the instance" if self.asks_instances else self.columns.get("event_time", "event")
        if column == "known_at":
            return f"({self.known} after the time of {moment})"
        return f"(the UTC date of {moment})"

    def field_of(self, column: str) -> str:
        """The setting that names a column of ours there."""
        own = {one.name for one in self.definition.columns if one.nullable}
        if column in own:
            return f"{self.section}.columns.{column}"
        return f"{self.section}.{column}" if self.is_dated else f"{self.section}.names.{column}"

    def __str__(self) -> str:
        """For messages."""
        of = f" ({self.named} in the catalog)" if self.named else ""
        return f"{self.name} = {self.place}{of}"


def foreign_sections(pipeline: "Pipeline") -> dict[str, Placed]:
    """The sections whose table is somebody else's, by the name of ours."""
    views = {f"features/{view.name}": view for view in pipeline.feature_views}
    of = {ASKED: pipeline.instances, TOLD: pipeline.labels, **views}
    return {name: section for name, section in of.items() if section.is_foreign}


def foreign_table(pipeline: "Pipeline", warehouse: str, name: str) -> ForeignTable | None:
    """A table that is somebody else's; None where it is tenforward's own.

    Raises ConfigurationError for a name in the catalog whose place nobody has asked for yet.
    """
    section = foreign_sections(pipeline).get(name)
    if section is None:
        return None
    place, form = section.path, section.format or "delta"
    if section.table is not None:
        field = f"{section_name(name)}.table"
        place, form = place_of_name(warehouse, name, section.table, field)
    assert place is not None  # a foreign section has one of the two
    definition, columns = _mapped(pipeline, name, section)
    known: Literal["commit"] | timedelta | None = None
    if isinstance(section, Labels):
        known = "commit" if section.known_at_commit else None
        if section.known_after is not None:
            known = parse_duration(section.known_after)
    if known is not None:
        columns.pop("known_at")
    return ForeignTable(definition, section_name(name), place, form, columns, known, section.table)


def table_place(pipeline: "Pipeline", warehouse: str, name: str) -> str:
    """Absolute path or URI of a table, whosever it is. Raises as `foreign_table` does."""
    foreign = foreign_table(pipeline, warehouse, name)
    return within(warehouse, name) if foreign is None else foreign.place


def section_name(name: str) -> str:
    """The section of the pipeline file that a table of ours is described in."""
    return name.replace("features/", "feature_views.")


def _mapped(pipeline: "Pipeline", name: str, section: Placed) -> tuple[Table, dict[str, str]]:
    """The definition of a table, and theirs of each column of it that stands there."""
    if isinstance(section, FeatureView):
        definition = feature_view(section)
        named = dict(section.names or {})
    else:
        definition = instances(pipeline) if name == ASKED else labels(pipeline)
        keys = ("instance_id", "event_time", "event_date", "known_at")
        given = {key: getattr(section, key, None) for key in keys}
        named = {key: column for key, column in given.items() if column is not None}
    own = {key: one.column for key, one in getattr(section, "columns", {}).items() if one.column}
    named |= own
    columns = {c.name: named.get(c.name, c.name) for c in definition.columns}
    if "event_date" in columns and "event_date" not in named:
        del columns["event_date"]  # derived: a column of theirs is read by where it is named
    if name == TOLD and "event_time" in named:
        columns["event_time"] = named["event_time"]
    return definition, columns
