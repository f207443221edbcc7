"""A Feast registry as a pipeline file: a pure function over what `feast registry-dump` prints.

What has no counterpart is left out, what is called otherwise renamed, and both are told.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from schemas.log import without_passwords
from schemas.places import names_a_user
from schemas.sections.fault import Wrong
from schemas.sections.section import identifier

# Feast's value types; a column of any other is left out.
TYPES = {
    "BOOL": "bool",
    "INT32": "int32",
    "INT64": "int64",
    "FLOAT": "float32",
    "DOUBLE": "float64",
    "STRING": "string",
    "UNIX_TIMESTAMP": "timestamp",
    "STRING_LIST": "strings",
    "FLOAT_LIST": "floats",
}
# What the model reads of a column; of the other types it needs the user's word.
KINDS = {
    "bool": "number",
    "int32": "number",
    "int64": "number",
    "float32": "number",
    "float64": "number",
    "string": "category",
}
# Lists of the registry that have no counterpart, and why.
OTHERS = {
    "onDemandFeatureViews": "computed when it is asked for: compute it before, into a view or the"
    " instances",
    "streamFeatureViews": "computed from a stream: name the table that its results are stored in",
    "labelViews": "labels are a table of their own: [labels]",
    "featureServices": "[features] says what the model reads",
    "savedDatasets": "a refresh is what is trained on",
    "permissions": "who may read is the storage's to say",
}
DUMMY = "__dummy"  # the entity of a view that has none
UNITS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
YOURS = "# YOURS:"  # marks what Feast does not know


class Note(NamedTuple):
    """What became of something: left out or changed, and why."""

    what: str
    why: str


@dataclass
class Notes:
    """What is to be told beside the file."""

    left_out: list[Note] = field(default_factory=list)
    changed: list[Note] = field(default_factory=list)


class _Column(NamedTuple):
    kind: str
    there: str  # its name in the source


class _View(NamedTuple):
    name: str
    spec: Mapping[str, Any]
    keys: Mapping[str, str]  # name in the source by name
    columns: Mapping[str, _Column]
    ttl: str | None


def pipeline_text(registry: Mapping[str, Any], name: str, origin: str) -> tuple[str, Notes]:
    """The pipeline file, and what has no place in it.

    registry: as `feast registry-dump` prints it. origin: what the file says it is from.
    """
    notes = Notes()
    entities = {one["spec"]["name"]: one["spec"] for one in registry.get("entities", ())}
    views = list(_views(registry.get("featureViews", ()), entities, notes))
    for kind, why in OTHERS.items():
        for one in registry.get(kind, ()):
            notes.left_out.append(Note(f"{kind}.{one.get('spec', one).get('name')}", why))
    _unread_sources(registry, views, notes)
    keys = {key: _entity_of(key, entities) for view in views for key in view.keys}
    parts = [_head(name, origin, keys), *(_section(view, notes) for view in views)]
    return "\n".join([*parts, _features(views, keys, notes)]), notes


def _head(name: str, origin: str, keys: Mapping[str, str]) -> str:
    """The sections before the views."""
    lines = [
        f"# From {origin}, by `tenforward from-feast`. YOURS marks what Feast does not know.",
        "# `tenforward validate --pipeline FILE` names every fault, docs/settings.md all settings.",
        "",
        f"name = {_text(name)}",
        f'task = "binary"  {YOURS} or "regression", "multiclass"',
        "",
        "[instances]",
        f"segments = []  {YOURS} at most four text columns by which records and reports are split",
        "",
        f"[instances.columns]  {YOURS} also what the model server is asked with",
    ]
    lines += [
        f'{key} = {{ type = "string", doc = {_text(f"Join key of {entity}.")} }}'
        for key, entity in keys.items()
    ]
    return "\n".join(
        [
            *lines,
            "",
            f"[labels]  {YOURS} what the model predicts",
            'label = "label"',
            "",
            "[labels.columns]",
            'label = { type = "float64", doc = "What the model predicts." }',
            "",
        ]
    )


def _views(
    listed: Sequence[Mapping[str, Any]], entities: Mapping[str, Mapping[str, Any]], notes: Notes
) -> Iterator[_View]:
    taken: set[str] = set()
    for one in listed:
        spec = one["spec"]
        where = f"featureViews.{spec['name']}"
        computed = {"featureTransformation", "userDefinedFunction"} & set(spec)
        known = [entities.get(entity, {}) for entity in spec.get("entities", ())]
        joined = [str(one.get("joinKey")) for one in known if one.get("name") != DUMMY]
        if computed:
            why = "computed by Feast from its source: name the table that its results are stored in"
            notes.left_out.append(Note(where, why))
        elif not joined or not all(known):
            why = "a view of no entity: every view has a key here; write it into the instances"
            notes.left_out.append(Note(where, why))
        elif name := _named(spec["name"], where, taken, notes):
            keys = [_named(key, f"{where}.{key}", None, notes) for key in joined]
            for entity in known:
                if entity.get("valueType", "STRING") != "STRING":
                    why = f"keys are text here: {entity['joinKey']} is {entity['valueType']} there"
                    notes.changed.append(Note(where, why))
            columns = _columns(spec, where, notes)
            if None in keys or not columns:
                why = "none of its columns" if not columns else "not all of its keys"
                notes.left_out.append(Note(where, f"{why} can be had here"))
            else:
                ttl = _ttl(spec.get("ttl", "0s"), where, notes)
                there = _names_there(spec)
                named = {str(own): there(key) for own, key in zip(keys, joined, strict=True)}
                yield _View(name, spec, named, columns, ttl)


def _named(name: str, where: str, taken: set[str] | None, notes: Notes) -> str | None:
    """A name as names are here, lower-case words; None where that is not to be had."""
    ours = re.sub(r"[^a-z0-9_]", "_", name.lower())
    if not _is_name(ours) or (taken is not None and ours in taken):
        notes.left_out.append(Note(where, f"{name!r} can be no name here, or stands for another"))
        return None
    if taken is not None:
        taken.add(ours)
    if ours != name:
        notes.changed.append(Note(where, f"is called {ours} here"))
    return ours


def _is_name(text: str) -> bool:
    try:
        return bool(identifier(text))
    except Wrong:
        return False


def _text(value: Any) -> str:
    """A string or a list of them as TOML has it, which reads no surrogates."""
    return json.dumps(value, ensure_ascii=False)


def _names_there(spec: Mapping[str, Any]) -> Callable[[str], str]:
    """From what Feast calls a column to what its source does."""
    mapping = spec.get("batchSource", {}).get("fieldMapping", {})
    theirs = {ours: name for name, ours in mapping.items()}
    return lambda name: theirs.get(name, name)


def _columns(spec: Mapping[str, Any], where: str, notes: Notes) -> dict[str, _Column]:
    """By name the columns that can be had."""
    found: dict[str, _Column] = {}
    there = _names_there(spec)
    times = {spec.get("batchSource", {}).get(key) for key in _TIMES}
    for one in spec.get("features", ()):
        place, kind = f"{where}.{one['name']}", one.get("valueType", "INVALID")
        if one["name"] in times:
            notes.left_out.append(Note(place, "a timestamp of the view, no column of its own"))
        elif kind not in TYPES:
            notes.left_out.append(Note(place, f"{kind} has no counterpart"))
        elif name := _named(one["name"], place, set(found), notes):
            found[name] = _Column(TYPES[kind], there(one["name"]))
    return found


_TIMES = ("timestampField", "createdTimestampColumn")


def _ttl(text: str, where: str, notes: Notes) -> str | None:
    """Feast's "86400s" as "1d"; None where rows count for ever."""
    seconds = float(text.removesuffix("s"))
    if not seconds:
        return None
    whole = max(1, int(seconds))
    if whole != seconds:
        notes.changed.append(Note(where, f"ttl = {text}: whole seconds here, {whole}s"))
    unit = next(unit for unit, length in UNITS.items() if whole % length == 0)
    return f"{whole // UNITS[unit]}{unit}"


def _section(view: _View, notes: Notes) -> str:
    """`[[feature_views]]` of a view, read where Feast has its rows if that is a table in files."""
    source = view.spec.get("batchSource", {})
    where = f"featureViews.{view.spec['name']}"
    if "streamSource" in view.spec:
        why = "rows come from its batch source alone"
        notes.left_out.append(Note(f"{where}.streamSource", why))
    placed = _placed(source)
    above = [] if placed else _source(source, where, notes)
    lines = [*above, "[[feature_views]]", f"name = {_text(view.name)}", *placed]
    if about := view.spec.get("description"):
        lines.append(f"description = {_text(about)}")
    lines.append(f"entity = {_text(list(view.keys))}")
    names = dict(view.keys)
    if held := source.get("timestampField"):
        plain = _plain(held, where, notes)
        names[plain] = held
        lines.append(f"timestamp_field = {_text(plain)}")
    if known := source.get("createdTimestampColumn"):
        plain = _plain(known, where, notes)
        names[plain] = known
        lines.append(f"created_timestamp_column = {_text(plain)}")
    else:
        lines.append(f'created_timestamp_column = "created"  {YOURS} Feast knows none')
        names["created"] = held or "event_timestamp"
        why = "its source says no created_timestamp_column: a row counts here once it was known"
        if placed:
            why += ", which is when it held"
        notes.changed.append(Note(where, why))
    differ = {own: there for own, there in names.items() if own != there}
    if placed and differ:
        told = ", ".join(f"{own} = {_text(there)}" for own, there in differ.items())
        lines.append(f"names = {{ {told} }}")
    lines += [] if view.ttl is None else [f'ttl = "{view.ttl}"']
    lines.append("[feature_views.columns]")
    for name, (kind, there) in view.columns.items():
        column = f", column = {_text(there)}" if placed and there != name else ""
        lines.append(f'{name} = {{ type = "{kind}"{column} }}')
    return "\n".join([*lines, ""])


def _plain(name: str, where: str, notes: Notes) -> str:
    return _named(name, f"{where}.{name}", None, notes) or "event_timestamp"


def _placed(source: Mapping[str, Any]) -> list[str]:
    """The settings of a source in files, of which the whole place is known; none of another."""
    options = source.get("fileOptions", {})
    place = str(options.get("uri", "")).removeprefix("file://")
    if not place.startswith(("/", "s3://", "s3a://")) or names_a_user(place):
        return []
    delta = "deltaFormat" in options.get("fileFormat", {})
    return [f"path = {_text(place)}", *([] if delta else ['format = "parquet"'])]


def _source(source: Mapping[str, Any], where: str, notes: Notes) -> list[str]:
    """Where Feast has the rows, as comments: no table in files, or in a folder from its own on."""
    options = source.get("fileOptions", {})
    if place := options.get("uri"):
        kind = "delta" if "deltaFormat" in options.get("fileFormat", {}) else "parquet"
        lines = [f"# source: {place} ({kind}); its whole place can be read: path = ..."]
    else:
        told = source.get("name") or source.get("dataSourceClassType") or "none"
        lines = [f"# source: {told} ({source.get('type', 'no batch source')})"]
        why = f"{told}: no file; `tenforward describe` says which columns its rows need"
        notes.left_out.append(Note(f"{where}.batchSource", why))
    for theirs, ours in source.get("fieldMapping", {}).items():
        lines.append(f"# its column {theirs} is {ours}")
        notes.changed.append(Note(where, f"the source's column {theirs} is {ours}"))
    return [without_passwords(" ".join(line.split())) for line in lines]


def _features(views: Sequence[_View], keys: Mapping[str, str], notes: Notes) -> str:
    """`[features]`: every column that can be an input as it is."""
    lines, taken = [f"[features]  {YOURS} what the model reads; buckets, defaults"], set(keys)
    for view in views:
        for column, (kind, _) in view.columns.items():
            where = f"features.{view.name}.{column}"
            if kind not in KINDS:
                notes.left_out.append(Note(where, f"{kind}: no input as it is"))
                continue
            name = column if column not in taken else f"{view.name}__{column}"
            if name != column:
                notes.changed.append(
                    Note(where, f"is the input {name}: {column} is another's name")
                )
            if name in taken or not _is_name(name):
                notes.left_out.append(Note(where, "no name was free for it"))
                continue
            taken.add(name)
            lines.append(f'{name} = {{ kind = "{KINDS[kind]}", source = "{view.name}.{column}" }}')
    return "\n".join([*lines, ""])


def _unread_sources(registry: Mapping[str, Any], views: Sequence[_View], notes: Notes) -> None:
    read = {view.spec.get("batchSource", {}).get("name") for view in views}
    for source in registry.get("dataSources", ()):
        if source.get("name") not in read:
            why = f"{source.get('type', 'a source')} that no view above reads"
            notes.left_out.append(Note(f"dataSources.{source.get('name')}", why))


def _entity_of(key: str, entities: Mapping[str, Mapping[str, Any]]) -> str:
    """The Feast entity of a join key, in words."""
    named = [name for name, one in entities.items() if str(one.get("joinKey")).lower() == key]
    return f"the Feast entity {named[0]}" if named else "a Feast entity"
