"""Every rule of this room on what a command line names: a pipeline file and a warehouse."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from schemas.pipeline import Pipeline
from schemas.sections.fault import Fault
from schemas.validation.reading import Read, read_file
from schemas.validation.rules import (
    OF_A_WAREHOUSE,
    OF_PARTS,
    OF_PARTS_OF_A_FILE,
    OF_TRAINING,
    OF_WRITING,
)


def examine(
    path: str,
    warehouse: str | None,
    overrides: dict[str, Any] | None = None,
    *,
    writes: bool,
    trains: bool,
    owned: bool = True,
) -> Read:
    """The pipeline of a file, and every fault of it and of the warehouse.

    warehouse: None where it is not looked at. overrides: as `load_pipeline` takes them. writes,
    trains: whether tables are written, or a model trained. owned: whether the warehouse must be
    that pipeline's.
    """
    parts = (*OF_PARTS, *(OF_TRAINING if trains else ()))
    read = read_file(Path(path), Pipeline, overrides, more=parts, more_of_a_file=OF_PARTS_OF_A_FILE)
    if warehouse is None:
        return read
    name = None if read.pipeline is None or not owned else read.pipeline.name
    return Read(read.pipeline, [*read.faults, *_of_warehouse(warehouse, name, writes=writes)])


def _of_warehouse(warehouse: str, name: str | None, *, writes: bool) -> Iterator[Fault]:
    known, *others = OF_A_WAREHOUSE
    unknown = list(known(warehouse, name))
    yield from unknown
    if not unknown:
        for rule in (*others, *(OF_WRITING if writes else ())):
            yield from rule(warehouse, name)
