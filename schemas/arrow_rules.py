"""The rules of `schemas.rules` in Arrow: the first reason why a row cannot be used."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.rules import (
    Absent,
    AbsentBeside,
    Empty,
    EntryOtherThan,
    Fractional,
    HoldsOutside,
    Later,
    LengthOutside,
    NotAmong,
    Outside,
    Rule,
    Test,
)


def first_fault(rows: pa.Table, rules: Sequence[Rule]) -> pa.Array:
    """The reason of the first rule by which each row cannot be used, null where it can: (n,)."""
    if not rules:
        return pa.nulls(rows.num_rows, pa.string())
    broken = [_broken(rows, rule) for rule in rules]
    names = [rule.reason for rule in rules]
    return pc.case_when(pc.make_struct(*broken, field_names=names), *map(pa.scalar, names))


def _broken(rows: pa.Table, rule: Rule) -> pa.Array:
    return reduce(pc.or_, (_whole(_holds(rows, test)) for test in rule.tests))


def _holds(rows: pa.Table, test: Test) -> Any:
    """Whether a test holds of each row: (n,) booleans, none of them null."""
    match test:
        case Empty(column):
            return pc.equal(pc.fill_null(rows[column], ""), "")
        case Absent(columns):
            return reduce(pc.and_, (pc.is_null(rows[column]) for column in columns))
        case AbsentBeside(column, other):
            return pc.and_(pc.is_null(rows[column]), pc.is_valid(rows[other]))
        case Outside(column, least, most):
            return _known(pc.invert(_inside(rows[column], least, most)))
        case HoldsOutside(column, least, most):
            return _holding(_whole(rows[column]), least, most)
        case Fractional(column):
            return _known(pc.not_equal(pc.floor(rows[column]), rows[column]))
        case LengthOutside(column, least, most):
            return _known(pc.invert(_inside(pc.list_value_length(rows[column]), least, most)))
        case EntryOtherThan(column, place, value):
            return _entry_other(_whole(rows[column]), place, value)
        case Later(column, than, by):
            return _known(pc.greater(rows[column], pc.add(rows[than], pa.scalar(by))))
        case NotAmong(column, values):
            among = pc.is_in(rows[column], value_set=pa.array(values, pa.string()))
            return pc.and_(pc.is_valid(rows[column]), pc.invert(among))


def _inside(values: Any, least: float, most: float) -> Any:
    """Null where the number is; NaN is not inside."""
    return pc.and_(pc.greater_equal(values, least), pc.less_equal(values, most))


def _holding(lists: pa.Array, least: float, most: float) -> pa.Array:
    """Whether a list holds a number that is outside, or a null."""
    inside = _inside(lists.flatten(), least, most)
    outside = np.zeros(len(lists), np.bool_)
    if not pc.all(inside, skip_nulls=False, min_count=0).as_py():
        lengths = pc.fill_null(pc.list_value_length(lists), 0)
        owner = np.repeat(np.arange(len(lists)), lengths)
        outside[owner[~np.asarray(_known(inside))]] = True
    return pa.array(outside)


def _entry_other(lists: pa.Array, place: int, value: float) -> pa.Array:
    other = np.zeros(len(lists), np.bool_)
    has = _known(pc.greater(pc.list_value_length(lists), place))
    entry = pc.list_element(lists.filter(has), place)
    other[np.asarray(has)] = np.asarray(_known(pc.not_equal(entry, value)))
    return pa.array(other)


def _known(condition: Any) -> Any:
    return pc.fill_null(condition, False)


def _whole(column: Any) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
