"""What a refresh chooses from and judges by: records and labels of its window, the hold-out."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.asked import ASKED
from schemas.rules import Rules, rules_of
from schemas.set_aside import SET_ASIDE, ids_set_aside
from spark_jobs.candidates.narrow import (
    Frame,
    forward_share,
    held_out,
    in_window,
    known_as,
    labels_as_of,
)
from spark_jobs.candidates.propensities import with_asked
from spark_jobs.candidates.spark_maturity import with_labels
from spark_jobs.features.segments import with_keys_of
from spark_jobs.refresh.plan import RefreshPlan
from spark_jobs.storage.warehouse import Warehouse


@dataclass(frozen=True)
class Window:
    """Records of the days drawn from without the hold-out and what was set aside, labels of the
    whole window as they arrived, a bound on the number of both, what a record must fit, and for a
    census the instances and all records of the window.

    aside: ids that have a record and would be drawn from, had they not been set aside; None where
    nothing was.
    """

    records: DataFrame
    labels: DataFrame
    at_most: int
    rules: Rules
    asked: Frame
    aside: DataFrame | None = None


def window_of(
    warehouse: Warehouse,
    plan: RefreshPlan,
    model_versions: Collection[str] | None,
    *,
    keys_of_instances: bool = False,
) -> Window:
    """What a refresh draws from. model_versions: whose records count; None for all.
    keys_of_instances: whether the segment keys are those of the instances, not of the records."""

    def rows_of(name: str, last: date) -> tuple[DataFrame, int]:
        rows = warehouse.read_pinned(name, plan.versions)
        versions = plan.versions[name], plan.versions["instances"]
        dates = warehouse.rows_by_date(name, *versions).items()
        count = sum(count for day, count in dates if plan.window_start <= day <= last)
        return in_window(rows, plan.window_start, plan.ds), count

    arrived, label_count = rows_of("labels", plan.ds)
    recorded, record_count = rows_of("forward_records", plan.last_drawn)
    recorded = with_asked(warehouse, recorded, plan.versions.get(ASKED), plan.cut)
    instances, instance_count = rows_of("instances", plan.ds)
    if keys_of_instances:
        recorded = with_keys_of(instances, recorded, warehouse.pipeline.instances.segments)
    own = known_as(warehouse.pipeline.labels.known_as)
    labels = arrived.select("instance_id", "event_date", "known_at", *own)
    others = held_out(warehouse.pipeline.holdout)
    if plan.last_drawn < plan.ds:
        others |= F.col("event_date") > F.lit(plan.last_drawn)
    ids, aside = ids_set_aside(warehouse.root, plan.versions.get(SET_ASIDE)), None
    if ids:
        wrong = F.coalesce(F.col("instance_id").isin(ids), F.lit(False))
        aside = recorded.where(wrong & ~others).select("instance_id").distinct()
        others |= wrong
    # Of instances two columns are read and carried: they count only where they are the most.
    at_most = max(label_count + record_count, instance_count)
    rules = rules_of(warehouse.pipeline, model_versions)
    asked = Frame(instances, recorded, others)
    return Window(recorded.where(~others), labels, at_most, rules, asked, aside)


def held_out_rows(warehouse: Warehouse, plan: RefreshPlan, labels: DataFrame) -> DataFrame:
    """instance_id, label and perhaps row_weight, as of the cut, of the rows to judge by: the
    held-out instances of the window, and of the days after the last one drawn from about as many
    again."""
    pipeline, rule = warehouse.pipeline, warehouse.pipeline.labels
    judges = held_out(pipeline.holdout)
    if plan.last_drawn < plan.ds:
        days, forward = pipeline.selection.window_days, (plan.ds - plan.last_drawn).days
        later = F.col("event_date") > F.lit(plan.last_drawn)
        judges |= later & held_out(forward_share(pipeline.holdout, days, forward))
    own = {name: name for name in rule.known_as}
    known = labels_as_of(labels.where(judges), own, plan.cut, rules_of(pipeline))
    if rule.maturity == "arrival":
        return known.where(F.col("label").isNotNull())
    instances = warehouse.read("instances", plan.versions["instances"])
    asked = in_window(instances, plan.window_start, plan.ds).where(judges)
    asked = asked.select("instance_id", "event_time").dropDuplicates(["instance_id"])
    return with_labels(asked, known, rule, plan.cut).select("instance_id", *own)
