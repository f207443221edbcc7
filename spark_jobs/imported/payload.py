"""One row of a payload log as forward passes: pure Python, a row at a time.

What a path leads to is text, or a list of numbers. A row that cannot be read is one reject; of a
row of many instances each is judged by itself. A value of another kind than is meant is not cast:
a flag is no probability, a number with a point no id.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from schemas.reasons import OTHER_SHAPE, UNPARSED, UNREADABLE
from spark_jobs.imported.paths import Each, Path, Step

FEW = 5  # keys that are named
_NOTHING = object()


class OddError(Exception):
    """A value that is not what its path means: the reason of the reject, and in words what is."""

    def __init__(self, reason: str, told: str) -> None:
        super().__init__(told)
        self.reason = reason


class Wanted(NamedTuple):
    """A field of `[records]`: its path, what it may be, and whether it may be absent."""

    field: str
    path: Path
    kind: str
    optional: bool


class Pass(NamedTuple):
    """A forward pass of a row. place: in the row's list; None where the row is one. fault and why:
    where it cannot be used."""

    values: dict[str, Any]
    place: int | None = None
    fault: str | None = None
    why: str | None = None


def passes_of(row: Mapping[str, Any], wanted: Sequence[Wanted]) -> list[Pass]:
    """The forward passes of a row: at least one, so that none is lost.

    row: the columns that the paths begin with, as JSON. A list without an entry is one pass without
    values, which is a reject for what it lacks.
    """
    parsed: dict[str, Any] = {}
    alone: dict[str, Any] = {}
    many: dict[str, _Many] = {}
    fault: tuple[str, str] | None = None
    for one in wanted:
        try:
            found = _found(row, one, parsed)
        except OddError as odd:
            fault = fault or (odd.reason, _told(one, odd))
            continue
        (many if isinstance(found, _Many) else alone)[one.field] = found
    lengths = {field: len(found) for field, found in many.items()}
    if fault is None and len(set(lengths.values())) > 1:
        told = ", ".join(
            f"{one.path.text} has {lengths[one.field]}" for one in wanted if one.path.many
        )
        fault = OTHER_SHAPE, f"lists of one row differ in length: {told}"
    if fault is not None:
        return [Pass(alone, None, *fault)]
    if not many or not next(iter(lengths.values())):
        return [Pass(alone)]
    return [
        _one(alone, {field: found[place] for field, found in many.items()}, place, wanted)
        for place in range(next(iter(lengths.values())))
    ]


def _one(
    alone: Mapping[str, Any], own: Mapping[str, Any], place: int, wanted: Sequence[Wanted]
) -> Pass:
    """One of many: the values that all share, and its own, of which some may be odd."""
    sound = {field: value for field, value in own.items() if not isinstance(value, OddError)}
    for one in wanted:
        if isinstance(odd := own.get(one.field), OddError):
            return Pass({**alone, **sound}, place, odd.reason, _told(one, odd))
    return Pass({**alone, **sound}, place)


def _told(one: Wanted, odd: OddError) -> str:
    return f"records.{one.field} = {one.path.text!r}: {odd}"


def value_of(row: Mapping[str, Any], one: Wanted) -> Any:
    """The one value of a path. Raises OddError."""
    return _found(row, one, {})


class _Many(list[Any]):
    """The values of a path with `[]`, each perhaps an `OddError`."""


def _found(row: Mapping[str, Any], one: Wanted, parsed: dict[str, Any]) -> Any:
    """The value of a path, or its values; None where these may be absent and are."""
    value = row[one.path.column]
    if isinstance(value, str | bytes) and one.path.steps:  # the same text for every path
        if one.path.column not in parsed:
            parsed[one.path.column] = _parsed(value)
        value = parsed[one.path.column]
    before, after = one.path.parts
    there = _followed(value, before, one)
    if not one.path.many:
        return _leaf(there, one)
    there = _opened(there)
    if there is None:
        return None if one.optional else _Many()
    if not isinstance(there, list):
        raise OddError(OTHER_SHAPE, f"{_kind(there)} where a list is meant")
    return _Many(_each(entry, after, one) for entry in there)


def _each(entry: Any, steps: tuple[Step, ...], one: Wanted) -> Any:
    try:
        return _leaf(_followed(entry, steps, one), one)
    except OddError as odd:
        return odd


def _followed(value: Any, steps: tuple[Step, ...], one: Wanted) -> Any:
    """What the steps lead to; null where a part of the way is null, or may be absent and is."""
    for step in steps:
        value = _opened(value)
        if value is None:
            return None
        found = _stepped(value, step)
        if found is _NOTHING:
            if one.optional:
                return None
            raise OddError(OTHER_SHAPE, _absent(value, step))
        value = found
    return value


def _stepped(value: Any, step: Step) -> Any:
    assert not isinstance(step, Each)  # `Path.parts` parts there
    if isinstance(step, int):
        if not isinstance(value, list):
            raise OddError(OTHER_SHAPE, f"{_kind(value)} where a list is meant, at [{step}]")
        return value[step] if step < len(value) else _NOTHING
    if not isinstance(value, dict):
        raise OddError(OTHER_SHAPE, f"{_kind(value)} where an object is meant, at {step!r}")
    return value.get(step, _NOTHING)


def _absent(value: Any, step: Step) -> str:
    if isinstance(value, list):
        return f"the list has {len(value)} entries, none at [{step}]"
    keys = [*map(repr, dict(value))]
    more = f" and {len(keys) - FEW} more" if len(keys) > FEW else ""
    return f"no {step!r} in an object that has {', '.join(keys[:FEW]) or 'nothing'}{more}"


def _opened(value: Any) -> Any:
    """What is in a string, and in the string that is in it."""
    while isinstance(value, str | bytes):
        value = _parsed(value)
    return value


def _parsed(text: str | bytes) -> Any:
    """JSON in a string, or in bytes of UTF-8; an empty one is none."""
    try:
        told = text.decode() if isinstance(text, bytes) else text
        return json.loads(told) if told.strip() else None
    except (ValueError, RecursionError) as error:
        raise OddError(UNPARSED, f"no JSON: {error}") from error


def _leaf(value: Any, one: Wanted) -> Any:
    if value is None:
        return None
    made = _KINDS[one.kind](value)
    if made is _NOTHING:
        raise OddError(OTHER_SHAPE, f"{_kind(value)} where {_MEANT[one.kind]} is meant")
    if isinstance(made, str) and not _is_text(made):
        raise OddError(UNREADABLE, f"{made!r} is no text")
    return made


def _is_text(value: str) -> bool:
    """Whether UTF-8 can write it: JSON can hold half a character."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _key(value: Any) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if whole or isinstance(value, str) else _NOTHING


def _named(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else _key(value)


def _number(value: Any) -> Any:
    """Text, as a moment is too; what no number or no moment stands in is told when it is cast."""
    return str(value) if isinstance(value, str) or _is_number(value) else _NOTHING


def _numbers(value: Any) -> Any:
    if not isinstance(value, list) or not all(one is None or _is_number(one) for one in value):
        return _NOTHING
    return [None if one is None else _float(one) for one in value]


def _float(number: float) -> float:
    """JSON's whole numbers have no end: one beyond what a double holds is infinite."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_KINDS: dict[str, Callable[[Any], Any]] = {
    "key": _key,
    "named": _named,
    "moment": _number,
    "number": _number,
    "numbers": _numbers,
}
_MEANT = {
    "key": "a text or a whole number",
    "named": "a text, a whole number, a date or a flag",
    "moment": "a moment",
    "number": "a number",
    "numbers": "a list of numbers",
}


def _kind(value: Any) -> str:
    """What a value is, in JSON's words."""
    if isinstance(value, bool):
        return f"the flag {str(value).lower()}"
    if _is_number(value):
        return f"the number {value}"
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list) else f"a {type(value).__name__}"
