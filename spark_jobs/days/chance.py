"""How many rows a design draws that leaves their number to chance: drawn here, without Spark.

Whether a row is drawn is a function of its id and the seed, so the draw of a dry run is the draw.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import EmptyDrawError
from schemas.manifests import Decided
from schemas.rules import rules_of
from schemas.sections.budget import parse_budget
from schemas.set_aside import SET_ASIDE, ids_set_aside
from spark_jobs.candidates.arrow_narrow import (
    NARROW,
    WEIGHTED,
    kept_out,
    narrow_labels,
    narrow_records,
    seen_from,
    together,
)
from spark_jobs.candidates.assemble import assemble
from spark_jobs.days.outlook import Reading
from spark_jobs.refresh.plan import RefreshPlan
from spark_jobs.selection.blocks import ArrowBlocks
from spark_jobs.selection.columns import column
from spark_jobs.selection.engine import select
from spark_jobs.selection.policies import configured, on_records


def drawn_by_chance(reading: Reading, plan: RefreshPlan, decided: Decided) -> int:
    """The rows that the refresh of a plan draws from the tables as they are."""
    pipeline = reading.pipeline
    rules = rules_of(pipeline, decided.model_versions)
    days = [day for day in reading.days if plan.window_start <= day <= plan.ds]
    drawn_from = [day for day in days if day <= plan.last_drawn]
    aside = ids_set_aside(reading.warehouse, plan.versions.get(SET_ASIDE))
    logged = [_drawn_from(reading, day, aside) for day in drawn_from]
    arrived = [reading.labels(day) for day in days]
    schema = WEIGHTED if pipeline.labels.weight else NARROW
    rows = together(
        [narrow_records(one, rules, schema) for one in logged],
        [narrow_labels(one, rules, schema) for one in arrived],
        schema,
    )
    provisional = pipeline.selection.provisional_label
    seen = seen_from(rows, pipeline.labels, plan.cut)
    records, counts = assemble(seen, plan.seed, provisional, decided.learnt_until)
    assert records.kept is not None
    ids = [column(reading.rows("instances", day), "instance_id") for day in days]
    asked = pa.chunked_array(ids, pa.string())
    records = records.where(np.asarray(pc.is_in(records.kept["instance_id"], value_set=asked)))
    policy = on_records(configured(pipeline, decided.mixture), counts.in_sample)
    policy = replace(policy, calibrated=False)  # which moves weights, and draws no row
    budget = parse_budget(decided.budget)
    try:
        drawn = select(ArrowBlocks(records), policy, budget, plan.seed, pipeline.task)
    except EmptyDrawError:
        return 0
    return int(drawn.report["drawn"])


def _drawn_from(reading: Reading, day: date, aside: Sequence[str]) -> pa.Table:
    """The records of a day that are neither held out nor set aside and are of its date."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    bounds = [pa.scalar(at, pa.timestamp("us", tz="UTC")) for at in (start, start + timedelta(1))]
    records = reading.rows("forward_records", day)
    moment = records["event_time"]
    dated = pc.and_(pc.greater_equal(moment, bounds[0]), pc.less(moment, bounds[1]))
    own = ~kept_out(column(records, "instance_id"), reading.pipeline.holdout, aside)
    return records.filter(pc.and_(dated, pa.array(own)))
