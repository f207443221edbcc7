"""The page of every setting of a pipeline file, docs/settings.md, written from the models:

python -m console.settings > docs/settings.md
"""

import re
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from schemas.bounds import MOST_ROWS
from schemas.pipeline import Pipeline

HEAD = """# Every setting of a pipeline file

Written by `python -m console.settings > docs/settings.md`; a test holds it to the code. `tenforward
describe` says which columns the tables have; `tenforward validate` finds every fault of a file.
"""
LIMITS = {Ge: "at least", Gt: "above", Le: "at most", Lt: "below"}


class Heading(NamedTuple):
    """A section of the file: how its head is written, and its model."""

    head: str
    model: type[BaseModel]


def page() -> str:
    """The page, one table a section."""
    return "\n".join([HEAD, *(section(part) for part in parts(Pipeline, ""))])


def parts(model: type[BaseModel], head: str) -> Iterator[Heading]:
    """The section and those below it, in the order of the models."""
    yield Heading(head, model)
    for name, field in model.model_fields.items():
        below = _model(field.annotation)
        if below is not None:
            many = get_origin(field.annotation)
            dotted = f"{head.strip('[]')}.{name}".lstrip(".") + (".NAME" if many is dict else "")
            yield from parts(below, f"[[{dotted}]]" if many is list else f"[{dotted}]")


def section(part: Heading) -> str:
    """A heading, what the section is for, and its settings."""
    title = f"## `{part.head}`" if part.head else "## The beginning of the file"
    about = _about(part.model) if part.head else ""
    settings = {n: f for n, f in part.model.model_fields.items() if _model(f.annotation) is None}
    rows = [f"| `{n}` | {kind(f)} | {default(f)} | {f.description} |" for n, f in settings.items()]
    table = ["| setting | type | default | meaning |", "|---|---|---|---|", *rows] if rows else []
    return "\n".join([title, "", *([about, ""] if about else []), *table, ""])


def kind(field: FieldInfo) -> str:
    """A setting's type, with the values that it may take."""
    if any("duration" in str(one) for one in field.metadata):
        return "duration"
    of = " characters" if field.annotation in (str, str | None) else " of them"
    return ", ".join([_words(field.annotation), *_limits(field, of)])


def _limits(field: FieldInfo, of: str) -> Iterator[str]:
    """Each limit in words. of: what a length counts."""
    for one in field.metadata:
        match one:
            case Ge(ge=value) | Gt(gt=value) | Le(le=value) | Lt(lt=value):
                if float(str(value)) < MOST_ROWS:
                    yield f"{LIMITS[type(one)]} {value:,}"
            case MinLen(min_length=value):
                yield f"at least {value}{of if value != 1 else of.removesuffix('s')}"
            case MaxLen(max_length=value):
                yield f"at most {value}{of}"


def default(field: FieldInfo) -> str:
    """A setting's default as a file has it; nothing where there is none."""
    if field.default is PydanticUndefined:
        return "*needed*"
    if field.default in (None, [], {}):
        return ""
    value = field.default
    text = str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')
    return f"`{text}`"


def _words(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return "duration" if "duration" in str(inner[1]) else _words(inner[0])
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_words(one) for one in inner if one is not NoneType))
    if origin is Literal:
        return " or ".join(f"`{one}`" for one in inner)
    if origin is list or origin is tuple:
        return f"list of {_many(inner[0])}"
    if origin is dict:
        return f"table of {_many(inner[1])} by name"
    names = {str: "text", int: "whole number", float: "number", bool: "`true` or `false`"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _many(annotation: Any) -> str:
    words = _words(annotation)
    return words if " or " in words else f"{words}s"


def _model(annotation: Any) -> type[BaseModel] | None:
    """The model that a section's type is, or holds."""
    for one in (annotation, *get_args(annotation)):
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one
    return None


def _about(model: type[BaseModel]) -> str:
    """A model's docstring without the head of its section."""
    text = re.sub(r"\n    ", "\n", (model.__doc__ or "").strip())
    text = re.sub(r"^`\[+[\w.]+\]+`[:,] ?", "", text)
    return text[:1].upper() + text[1:]


if __name__ == "__main__":
    print(page(), end="")
