"""The tables that a check looks at, bounded by event date, each at one version."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from schemas.pipeline import Pipeline
from schemas.reasons import CLOCK_SKEW
from schemas.sections.store import FeatureView
from spark_jobs.candidates.narrow import known_as
from spark_jobs.refresh.plan import cut_of
from spark_jobs.storage.warehouse import Warehouse

WRITTEN = "_written"  # when the row's file was written
NUMBERS = ("float32", "float64")


@dataclass(frozen=True)
class Data:
    """A pipeline's tables at `versions`, event dates from `start` to `end`; None for no bound."""

    warehouse: Warehouse
    versions: Mapping[str, int]
    start: date | None = None
    end: date | None = None

    @property
    def pipeline(self) -> Pipeline:
        """Whose tables they are."""
        return self.warehouse.pipeline

    @property
    def cut(self) -> datetime:
        """The moment up to which labels and features count: the end of the last day, or now."""
        now = datetime.now(UTC)
        return now if self.end is None else min(now, cut_of(self.end))

    @cached_property
    def instances(self) -> DataFrame:
        """The instances of the range."""
        return self._dated("instances")

    @cached_property
    def records(self) -> DataFrame:
        """The forward records of the range."""
        return self._dated("forward_records")

    @cached_property
    def all_labels(self) -> DataFrame:
        """instance_id, event_date, known_at, label, and row_weight where rows have weights of their
        own, of every label, whatever its date."""
        rows = self._read("labels")  # starts Spark, which columns need
        own = known_as(self.pipeline.labels.known_as)
        return rows.select("instance_id", "event_date", "known_at", *own, WRITTEN)

    @cached_property
    def labels(self) -> DataFrame:
        """The labels of the range, by their own date."""
        return self.all_labels.where(self.within(F.col("event_date")))

    def view(self, view: FeatureView) -> DataFrame:
        """The rows of a feature view that hold from a moment of the range on."""
        held = F.to_date(view.timestamp_field)
        return self._read(f"features/{view.name}").where(self.within(held))

    def holds(self, day: date) -> bool:
        """Whether a day is in the range."""
        return (self.start or date.min) <= day <= (self.end or date.max)

    def _dated(self, name: str) -> DataFrame:
        return self._read(name).where(self.within(F.col("event_date")))

    def _read(self, name: str) -> DataFrame:
        return self.warehouse.read_pinned(name, self.versions, WRITTEN)

    def within(self, day: Column) -> Column:
        """Whether a date is in the range. One that is null is in every range: somebody has to find
        such rows."""
        inside = F.lit(True)
        if self.start is not None:
            inside &= day >= F.lit(self.start)
        if self.end is not None:
            inside &= day <= F.lit(self.end)
        return F.coalesce(inside, F.lit(True))


def in_the_future(moment: str) -> Column:
    """Whether a moment lies in the future of now, or of the moment when its file was written."""
    return F.col(moment) > F.least(F.current_timestamp(), F.col(WRITTEN)) + F.lit(CLOCK_SKEW)


def any_null(columns: Sequence[str]) -> Column:
    """Whether one of the columns is null, or a text that is empty."""
    found = F.lit(False)
    for name in columns:
        found |= F.col(name).isNull() | (F.col(name).cast("string") == "")
    return found


def not_a_number(types: Mapping[str, str]) -> Column:
    """Whether a number is NaN or infinite. types: of the columns, by name."""
    found = F.lit(False)
    for name, kind in types.items():
        if kind in NUMBERS:
            value = F.abs(F.col(name).cast("double"))
            found |= F.coalesce(F.isnan(value) | (value == float("inf")), F.lit(False))
    return found
