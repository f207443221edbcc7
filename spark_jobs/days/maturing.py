"""When the instances of an event date become candidates: what a plan counts refreshes by.

For many refreshes at once, where `days.newly_matured` asks of two: each instance is given the first
cut from which on it is a candidate.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.arrow_rules import first_fault
from schemas.pipeline import Pipeline
from schemas.rules import Rules
from schemas.sections.section import parse_duration
from spark_jobs.candidates.arrow_narrow import kept_out, narrow_records, seen_from, together
from spark_jobs.candidates.assemble import assemble
from spark_jobs.candidates.content import LABEL_SAID
from spark_jobs.candidates.maturity import Counting, ages
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.columns import column

NEVER, ALWAYS = np.iinfo(np.int64).max, np.iinfo(np.int64).min
_TIME = pa.timestamp("us", tz="UTC")
_DAY = 86_400_000_000  # microseconds
_OF = ("instance_id", "known_at")
_SEED = 1  # of the order of the rows, on which nothing here depends


class Maturing(NamedTuple):
    """What an event date holds for a refresh.

    now (n,): of each instance that may be drawn and has a sound record, the cut from which on it is
    a candidate, in microseconds since 1970, sorted. scored (m,): the same, once every instance has
    a record. recorded, asked: ids with a record now, and then. records: rows to draw from.
    unusable: those of them, and of the labels, that are rejects.
    """

    now: Array
    scored: Array
    recorded: int
    asked: int
    records: int
    unusable: int


def maturing(
    pipeline: Pipeline,
    rules: Rules,
    day: date,
    asked: pa.Table,
    records: pa.Table,
    labels: pa.Table,
    aside: Sequence[str] = (),
) -> Maturing:
    """What a day holds. asked: instance_id, event_time; records: rows of `forward_records` without
    the date; labels: instance_id, known_at, label and perhaps row_weight; aside: ids that were set
    aside."""
    asked = asked.filter(pc.is_valid(asked["instance_id"]))
    asked = asked.group_by("instance_id").aggregate([("event_time", "min")])
    ids, moment = column(asked, "instance_id"), _micros(column(asked, "event_time_min"))
    sound_labels, bad_labels = _sound(labels, rules)
    matured = _matured(pipeline, ids, moment, sound_labels, labels)
    free = ~kept_out(ids, pipeline.holdout, aside)
    recorded_ids = column(records, "instance_id")
    drawn_from = records.filter(pa.array(~kept_out(recorded_ids, pipeline.holdout, aside)))
    sound, bad_records = _sound_ids(drawn_from, rules, day)
    known = np.asarray(pc.is_in(ids, value_set=sound))
    nobody = len(sound) - int(known.sum())
    recorded = recorded_ids.drop_null().unique()
    both = pa.concat_arrays([recorded, ids])
    return Maturing(
        now=np.sort(matured[free & known]),
        scored=np.sort(matured[free]),
        recorded=len(recorded),
        asked=len(both.unique()),
        records=drawn_from.num_rows,
        unusable=bad_records + nobody + bad_labels,
    )


def _sound_ids(records: pa.Table, rules: Rules, day: date) -> tuple[pa.Array, int]:
    """The instances with a record that can be used, and how many records cannot."""
    dated = _micros(column(records, "event_time")) // _DAY == (day - date(1970, 1, 1)).days
    rows = narrow_records(records.filter(pa.array(dated)), rules)
    now = datetime.now(UTC)  # no label is looked at
    found, counts = assemble(seen_from(together([rows], []), None, now), _SEED, 0.0)
    assert found.kept is not None
    return column(found.kept, "instance_id"), counts.rejected + int((~dated).sum())


def _sound(labels: pa.Table, rules: Rules) -> tuple[pa.Table, int]:
    """instance_id, known_at and label of those that can be used and do not contradict each other;
    how many cannot be used."""
    names = [name for name in LABEL_SAID if name in labels.column_names]
    numbers = {name: labels[name].cast(pa.float64()) for name in names}
    named = pc.fill_null(pc.not_equal(labels["instance_id"], ""), False)
    fault = first_fault(pa.table(numbers), rules.label)
    sound = pc.and_(pc.is_null(fault), named)
    usable = pc.and_(sound, pc.is_valid(numbers["label"]))
    few = pa.table({name: labels[name] for name in _OF} | numbers).filter(usable)
    ends = [(name, end) for name in names for end in ("min", "max")]
    said = few.group_by([*_OF]).aggregate([*ends, ("label", "count")])
    same = (pc.equal(said[f"{name}_min"], said[f"{name}_max"]) for name in names)
    agree = said.filter(reduce(pc.and_, same))
    contradict = few.num_rows - int(pc.sum(agree["label_count"]).as_py() or 0)
    bad = labels.num_rows - int(pc.sum(sound).as_py() or 0) + contradict
    return agree.select([*_OF, "label_min"]).rename_columns([*_OF, "label"]), bad


def _matured(
    pipeline: Pipeline, ids: pa.Array, moment: Array, sound: pa.Table, labels: pa.Table
) -> Array:
    """The first cut (n,) from which on each instance is a candidate, if it has a record."""
    if pipeline.selection.provisional_label is not None:
        return np.full(len(ids), ALWAYS)
    rule = pipeline.labels
    young, old = ages(rule)
    first = _first(ids, sound)
    if young == Counting.ANY:
        return first
    assert rule.after is not None  # of every rule but that
    is_old = moment + parse_duration(rule.after) // timedelta(microseconds=1)
    if old != Counting.ABSENT_IS_NEGATIVE:
        return np.where(first == NEVER, NEVER, np.maximum(first, is_old))
    # Of a label that cannot be used nobody may say that it is absent.
    refused = np.asarray(pc.is_in(ids, value_set=labels["instance_id"].combine_chunks()))
    return np.where(refused & (first == NEVER), NEVER, is_old)


def _first(ids: pa.Array, labels: pa.Table) -> Array:
    """When the first of the labels of each id became known, (n,); NEVER where there is none."""
    first = labels.group_by("instance_id").aggregate([("known_at", "min")])
    place = pc.index_in(ids, value_set=column(first, "instance_id"))
    moment = column(first, "known_at_min").take(place)
    return np.where(np.asarray(moment.is_valid()), _micros(moment), NEVER)


def _micros(moments: pa.Array) -> Array:
    """Moments (n,) in microseconds since 1970; null ones are NEVER."""
    return np.asarray(moments.cast(_TIME).cast(pa.int64()).fill_null(NEVER))
