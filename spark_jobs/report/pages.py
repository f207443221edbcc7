"""HTML pages beside the tables, on whatever storage these are: each one file, whole by itself."""

import os
import uuid
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from pyarrow import fs

from schemas.places import filesystem


def rendered(template: str, **values: Any) -> str:
    """A template of this folder, filled in; text is escaped, but what is `Markup`."""
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)


def _template(name: str) -> str:
    return files("spark_jobs.report").joinpath(name).read_text(encoding="utf-8")


def read_page(place: str) -> bytes:
    """The file, or nothing where there is none."""
    store, path = filesystem(place)
    if store.get_file_info(path).type != fs.FileType.File:
        return b""
    with store.open_input_stream(path) as file:
        return file.read()


def write_page(place: str, content: bytes) -> None:
    """Write the file whole or not at all: an object store shows an object when it is complete."""
    store, path = filesystem(place)
    if store.type_name != "local":
        with store.open_output_stream(path) as file:
            file.write(content)
        return
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        part.write_bytes(content)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
