"""What is wrong with a pipeline file, in words: pydantic's errors as faults."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import ValidationError

from schemas.sections.fault import Fault, Wrong
from schemas.sections.section import Section

Place = tuple[str | int, ...]

# What pydantic found, by its name for it, in our words: the problem and the remedy. {0}, {1}, ...
# are what it was held to.
_WORDS: dict[str, tuple[str, str]] = {
    "greater_than_equal": ("below {ge}", "write {ge} or more"),
    "greater_than": ("not above {gt}", "write a number above {gt}"),
    "less_than_equal": ("above {le}", "write {le} or less"),
    "less_than": ("not below {lt}", "write a number below {lt}"),
    "finite_number": ("not a finite number", "write one, neither nan nor inf"),
    "int_type": ("not a whole number", "write one, without quotes"),
    "int_from_float": ("not a whole number", "write one"),
    "float_type": ("not a number", "write one, without quotes"),
    "bool_type": ("neither true nor false", "write one of them, without quotes"),
    "string_type": ("not a text", "write it in quotes"),
    "date_type": ("not a day", "write one without quotes, such as 2026-12-31"),
    "list_type": ("not a list", "write it in brackets, such as [1, 2]"),
    "tuple_type": ("not a list", "write it in brackets, such as [1, 2]"),
    "too_short": ("has {actual_length} entries", "give at least {min_length}"),
    "too_long": ("has more than {max_length} entries", "give at most {max_length}"),
    "string_too_short": ("empty", "give a text, or remove it"),
    "string_too_long": ("longer than {max_length} characters", "shorten it"),
    "dict_type": ("not a table", "write it as a table, [{field}]"),
    "model_type": ("not a table", "write it as a table, [{field}]"),
    "model_attributes_type": ("not a table", "write it as a table, [{field}]"),
}


def faults_of(
    error: ValidationError, data: Mapping[str, Any], model: type[Section]
) -> list[tuple[Place, Fault]]:
    """The faults of a file's content, one a field, each with its place in `data`."""
    found: dict[tuple[Place, str], Fault] = {}
    for entry in error.errors():
        place = entry["loc"]
        if entry["type"] not in ("missing", "extra_forbidden"):
            place = _there(data, place)  # pydantic goes on to name what it tried there
        wrong = entry.get("ctx", {}).get("error")
        if isinstance(wrong, Wrong):
            field = named(data, place) if place else ""
            for fault in wrong.faults:
                at = (*place, *fault.field.split(".")) if fault.field else place
                found.setdefault((at, fault.field), fault.within(field))
        elif (place, "") in found and place != entry["loc"]:  # one more of the types it may have
            problem = "of a type that it cannot have"
            remedy = "write true, false, a number, a text, or a list of these"
            found[place, ""] = Fault(named(data, place), entry["input"], problem, remedy)
        else:
            found.setdefault((place, ""), _in_words(entry, place, data, model))
    return [(place, fault) for (place, _), fault in found.items()]


def _in_words(entry: Any, place: Place, data: Mapping[str, Any], model: type[Section]) -> Fault:
    field, value = named(data, place), entry["input"]
    match entry["type"]:
        case "missing":
            return Fault(field, None, "missing", f"add {_like(model, place)}")
        case "extra_forbidden":
            return Fault(field, value, "is not a known field", _hint(model, place))
        case "literal_error":
            known = _literals(entry["ctx"]["expected"])
            return Fault(field, value, f"none of {', '.join(known)}", _nearest(value, known))
        case kind if kind in _WORDS:
            about = entry.get("ctx", {}) | {"field": field}
            problem, remedy = (words.format(**about) for words in _WORDS[kind])
            return Fault(field, value, problem, remedy)
        case _:
            return Fault(field, value, entry["msg"].removeprefix("Value error, "), "correct it")


def _there(data: Any, place: Place) -> Place:
    """The part of a place that the file has."""
    for depth, part in enumerate(place):
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return place[:depth]
    return place


def named(data: Any, place: Place) -> str:
    """A place in words: a view of a list goes by its own name, where it has one."""
    words: list[str] = []
    for part in place:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            data = None
        name = data.get("name") if isinstance(part, int) and isinstance(data, dict) else None
        if isinstance(part, int) and not isinstance(name, str):
            words[-1:] = [f"{words[-1]}[{part}]"] if words else [str(part)]
        else:
            words.append(str(part if name is None else name))
    return ".".join(words) or "the file"


def _literals(expected: str) -> list[str]:
    """The words that pydantic expected: it writes "'a', 'b' or 'c'"."""
    return [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")]


def _nearest(value: Any, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(str(value).lower(), known, n=1)
    return f"write {near[0]!r}" if near else "write one of them"


def _hint(model: type[Section], place: Place) -> str:
    """What an unknown field may have been meant for."""
    word = str(place[-1])
    section = _section_at(model, place[:-1])
    mine = [] if section is None else list(section.model_fields)
    if near := difflib.get_close_matches(word, mine, n=1):
        return f"write {near[0]!r}"
    others = {name: where for where, one in _sections(model) for name in one.model_fields}
    if word in others:
        return f"move it to {others[word]}"
    near = difflib.get_close_matches(word, list(others), n=1)
    return f"write {near[0]!r}, in {others[near[0]]}" if near else "remove it"


def _like(model: type[Section], place: Place) -> str:
    """What a missing field may hold."""
    section = _section_at(model, place[:-1])
    info = None if section is None else section.model_fields.get(str(place[-1]))
    return "it" if info is None or not info.description else f"it: {info.description}".rstrip(".")


def _section_at(model: type[Section], place: Place) -> type[Section] | None:
    """The section that a place of the file is described by."""
    section: type[Section] | None = model
    for part in place:
        if isinstance(part, int) or section is None:
            continue  # an entry of a list of sections
        info = section.model_fields.get(part)
        inner = None if info is None else _section_in(info.annotation)
        section = section if inner is None else inner  # a key of the user's own stays in it
    return section


def _section_in(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next(filter(None, map(_section_in, get_args(annotation))), None)


def _sections(model: type[Section], where: str = "") -> Iterator[tuple[str, type[Section]]]:
    """Every section with its place in the file, the innermost first."""
    for name, info in model.model_fields.items():
        if (inner := _section_in(info.annotation)) is not None:
            yield from _sections(inner, f"{where}{name}.")
    yield (f"[{where.rstrip('.')}]" if where else "the top of the file"), model


def dropped(data: dict[str, Any], place: Place) -> bool:
    """Take what is wrong out of `data`, in place, so that the rest can be looked at; False where
    there is nothing to take out."""
    holder: Any = data
    try:
        for part in place[:-1]:  # which may have been taken out whole
            holder = holder[part]
        del holder[place[-1]]
    except (KeyError, IndexError, TypeError):
        return False
    return True
