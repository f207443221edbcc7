"""Many pipelines under one root: `{pipeline}` in the place of a warehouse is the pipeline's name.

    /lake/{pipeline}    /lake/flights, /lake/films, ...

A warehouse holds one pipeline, so this is what tells theirs apart, for the DAGs and for commands.
"""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from schemas.errors import ConfigurationError
from schemas.sections.section import identifier

HOLE = "{pipeline}"


class PipelineFile(NamedTuple):
    """A pipeline file of a folder, under the name by which results tell of it."""

    name: str  # the pipeline's; the file's where that is not known, or another file's as well
    file: Path
    fault: str | None = None  # why it is passed over


def located(place: str, name: str) -> str:
    """The warehouse of a pipeline: a folder or a URI, with or without `{pipeline}`."""
    return place.replace(HOLE, name)


def located_by_file(place: str, file: str) -> str:
    """The same, of a pipeline file; as it is where the file tells no name."""
    name = _name_in(Path(file)) if HOLE in place else None
    return place if name is None else located(place, name)


def pipeline_files(folder: str, place: str) -> list[PipelineFile]:
    """The pipeline files of a folder whose warehouses are at `place`, in the order of their names.

    Of several files with one name the one that is called so goes on, as for the DAGs, and none
    where none is. Raises ConfigurationError for a folder without any, and for one warehouse of
    several.
    """
    files = sorted(Path(folder).glob("*.toml"))
    if not files:
        raise ConfigurationError(
            f"--pipelines = {folder}: no pipeline file (*.toml). Remedy: name the folder that has"
            " them."
        )
    if len(files) > 1 and HOLE not in place:
        raise ConfigurationError(
            f"--warehouse = {place}: holds one pipeline, and {folder} has {len(files)}. Remedy:"
            f" write {HOLE} where their names are told apart, such as {place}/{HOLE}."
        )
    names = {file: _name_in(file) for file in files}
    return [
        _told(file, names[file], [one for one in files if names[one] == names[file]])
        for file in files
    ]


def _told(file: Path, name: str | None, alike: Sequence[Path]) -> PipelineFile:
    """A file among those that claim its name."""
    if name is None:
        return PipelineFile(file.name, file)
    if len(alike) == 1 or file.stem == name:
        return PipelineFile(name, file)
    others = ", ".join(other.name for other in alike if other != file)
    fault = (
        f"{file}: name = {name!r} is also that of {others}. Remedy: give each pipeline a name of"
        " its own."
    )
    return PipelineFile(file.name, file, fault)


def _name_in(file: Path) -> str | None:
    """The name of the pipeline; None where the file cannot be read, or names none."""
    try:
        return identifier(str(tomllib.loads(file.read_text(encoding="utf-8-sig")).get("name")))
    except (OSError, ValueError, RecursionError):  # TOML's, UTF-8's and our own are ValueErrors
        return None
