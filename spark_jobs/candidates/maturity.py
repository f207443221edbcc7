"""When a label counts, seen from the cut: the rules of `schemas.sections.store.Labels`.

Of each row its event time says which labels would count (`Counting`); the label, or that there is
none, asks for a least of these. Both here, once, with their form in arrays; `spark_maturity` has
the same as Spark's columns.
"""

from datetime import datetime
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.sections.section import parse_duration
from schemas.sections.store import Labels
from spark_jobs.selection.arrays import Array


class Counting(IntEnum):
    """Which labels of an instance count: each those of the ones before, and its own."""

    NONE = 0
    ANY = 1
    ABSENT_IS_NEGATIVE = 2


class Ages(NamedTuple):
    """What counts of an event, by its age at the cut."""

    young: Counting
    old: Counting  # from the moment when the event is `after` old


RULES = {
    "arrival": Ages(Counting.ANY, Counting.ANY),
    "delay": Ages(Counting.NONE, Counting.ANY),
    # A positive waits as well: counted at once, it would be the only class of the newest days.
    "window": Ages(Counting.NONE, Counting.ABSENT_IS_NEGATIVE),
}


def ages(rule: Labels | None) -> Ages:
    """What counts by a rule; without one, a label does on arrival."""
    return RULES["arrival" if rule is None else rule.maturity]


def old_until(rule: Labels | None, cut: datetime) -> datetime:
    """Events up to this moment are old at the cut."""
    return cut if rule is None or rule.after is None else cut - parse_duration(rule.after)


def counting(event_time: pa.Array, rule: Labels | None, cut: datetime) -> Array:
    """`Counting` of each row by its event time, (n,) int8."""
    young, old = ages(rule)
    is_old = pc.less_equal(event_time, pa.scalar(old_until(rule, cut), event_time.type))
    return np.where(np.asarray(pc.fill_null(is_old, False)), old, young).astype(np.int8)


def where_counted(label: pa.Array, counts: Array, refused: Array) -> pa.Array:
    """Labels (n,) where they count by `counts` (n,), else null; an absent one counts as 0.

    refused (n,): instances that had a label which cannot be used. Where they have no other, it is
    not absent.
    """
    if (counts == Counting.ANY).all():
        return label
    known = np.asarray(label.is_valid())
    counts = np.where(refused & ~known, np.minimum(counts, Counting.ANY), counts)
    values = pc.fill_null(label, 0.0).to_numpy(zero_copy_only=False)
    asks = np.where(known, Counting.ANY, Counting.ABSENT_IS_NEGATIVE)
    return pa.array(values, pa.float64(), mask=counts < asks)
