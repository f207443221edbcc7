"""A pipeline file as a pipeline, or with every fault that it has.

pydantic stops a section at its first fault, and the rules need all sections. So what is wrong is
taken out, or replaced by something that is not, and the rest is looked at again; what would follow
from a fault that is told already is left out.
"""

import copy
import re
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from schemas.sections.fault import Fault
from schemas.sections.faults import Place, dropped, faults_of, named
from schemas.validation.rules import OF_A_FILE, RULES, Rule

if TYPE_CHECKING:
    from schemas.pipeline import Pipeline

_LINE = re.compile(r"\(at (line \d+, column \d+)\)|\(at end of document\)")
# Tells the pipeline that its rules are asked one by one.
SECTIONS_ALONE = {"rules": False}


class Taken(NamedTuple):
    """Something that was taken out: its place in the file, and its name in words."""

    place: Place
    name: str

    @property
    def word(self) -> str:
        """How a rule would name it: a name of the user's own alone, else its whole name."""
        first, *others = self.place
        own = "columns" in others[-2:-1] or (len(self.place) == 2 and first in OWN)
        return self.name.rpartition(".")[2] if own else self.name


# Sections whose entries the user names.
OWN = ("features", "feature_views")


class Read(NamedTuple):
    """What a file comes to: the pipeline, where one could be made of it, and every fault.

    Where there is a fault the pipeline is what was left without it, and is not to be used.
    """

    pipeline: "Pipeline | None"
    faults: list[Fault]


def read_file(
    path: Path,
    model: "type[Pipeline]",
    overrides: dict[str, Any] | None = None,
    *,
    more: Sequence[Rule] = (),
    more_of_a_file: Sequence[Rule] = (),
) -> Read:
    """Read a pipeline file, and what the command line has in place of its settings.

    more, more_of_a_file: rules beside those that hold wherever a pipeline is loaded.
    """
    given = {field: value for field, value in (overrides or {}).items() if value is not None}
    content = _content(path)
    if isinstance(content, Fault):
        return Read(None, [content])
    if not given:
        return examined(content, model, (*RULES, *more, *OF_A_FILE, *more_of_a_file))
    whole = copy.deepcopy(content)
    for field, value in given.items():
        _set(whole, field.split("."), value)
    read = examined(whole, model, (*RULES, *more))
    written = examined(content, model, (*OF_A_FILE, *more_of_a_file), alone=True)
    return Read(read.pipeline, [*read.faults, *written.faults])


def _content(path: Path) -> dict[str, Any] | Fault:
    """The file as TOML, with or without a byte order mark."""
    text = ""
    try:
        text = path.read_text(encoding="utf-8-sig")
        return tomllib.loads(text)
    except OSError as error:
        remedy = "name a pipeline file with --pipeline"
        return Fault("--pipeline", str(path), error.strerror or str(error), remedy)
    except UnicodeDecodeError as error:
        problem = f"not UTF-8 text: byte {error.start} is {error.object[error.start]:#04x}"
        return Fault("the file", None, problem, "save it as UTF-8")
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        line = _LINE.search(str(error))
        what = _LINE.sub("", str(error)).strip()
        last = f"line {len(text.splitlines())}, the last one"
        return Fault(
            line[1] if line and line[1] else last, None, f"not valid TOML: {what}", "mend it there"
        )
    except ValueError as error:  # a path with a null in it, a number of thousands of digits
        return Fault("the file", None, str(error), "correct it")


def _set(data: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        inner = data.setdefault(key, {})
        if not isinstance(inner, dict):
            return  # a fault of the file, told as one
        data = inner
    data[keys[-1]] = value


def examined(
    content: dict[str, Any], model: "type[Pipeline]", rules: Iterable[Rule], *, alone: bool = False
) -> Read:
    """Every fault of a file's content, first those of its sections, then those of the rules.

    alone: of the rules only.
    """
    data = copy.deepcopy(content)
    taken: list[Taken] = []
    faults: list[Fault] = []
    while True:
        try:
            pipeline = model.model_validate(data, context=SECTIONS_ALONE)
        except ValidationError as error:
            found = faults_of(error, data, model)
        else:
            break
        told = [] if alone else [f for place, f in found if not _follows(place, f, taken)]
        faults += told
        # The last entries of a list first: the places of the others then stay as they are.
        mended = [_mended(data, place, taken) for place, _ in reversed(found)]
        if not any(mended):
            return Read(None, faults)
    followed = [fault for rule in rules for fault in rule(pipeline)]
    faults += [fault for fault in followed if not _follows((), fault, taken)]
    return Read(pipeline, faults)


def _mended(data: dict[str, Any], place: Place, taken: list[Taken]) -> bool:
    """Take what is wrong at a place out of `data`, or out of the section that lacks it."""
    while place:
        taken.append(Taken(place, named(data, place)))
        instead = _instead(data, str(place[0])) if len(place) == 1 else None
        if instead is not None and instead != data.get(str(place[0])):
            data[str(place[0])] = instead
            return True
        if dropped(data, place):
            return True
        place = place[:-1]
    return False


def _instead(data: dict[str, Any], name: str) -> Any:
    """What stands in for a part that every file must have, as simple as it can be."""
    section = data.get(name)
    columns = section.get("columns") if isinstance(section, dict) else None
    if name == "instances" and columns:
        return {"columns": columns}
    if name == "labels" and columns and isinstance(columns, dict):
        return {"columns": columns, "label": next(iter(columns))}
    return {"name": "unnamed", "task": "binary"}.get(name)


def _follows(place: Place, fault: Fault, taken: list[Taken]) -> bool:
    """Whether a fault may be one only because of what was taken out."""
    told = f"{fault.field}: {fault.problem}"
    for other in taken:
        above, beside = other.place[: len(place)] == place, other.place[:-1] == place[:-1]
        if place[: len(other.place)] == other.place or (place and above):
            return True
        if place and beside and isinstance(place[-1], int):  # the others of a list have moved up
            return True
        if other.word and re.search(rf"(?<![\w.]){re.escape(other.word)}(?!\w)", told, re.I):
            return True
        if other.place[0] == "features" and re.search(r"\bfeatures?\b", fault.problem):
            return True
    return False
