"""Where the tables are that a pipeline file names as in Spark's catalog: written down in the
warehouse by jobs that have Spark, read by those that have not."""

import json
from collections.abc import Mapping
from typing import Any, Literal

from pyarrow import fs

from schemas.errors import ConfigurationError
from schemas.places import filesystem, within

FILE = ".catalog_places.json"

Form = Literal["delta", "parquet"]


def place_of_name(warehouse: str, name: str, named: str, field: str) -> tuple[str, Form]:
    """Path or URI and format of the table that the catalog has as `named`.

    Raises ConfigurationError where no job with Spark has asked the catalog for it yet.
    """
    told = places_told(warehouse).get(name)
    if told is None or told["table"] != named:
        raise ConfigurationError(
            f'{field} = "{named}": where that is has not been asked of Spark\'s catalog yet.'
            " Remedy: run `tenforward init` where the catalog is to be had (its spark.sql.catalog"
            " settings in spark-defaults.conf, or by spark-submit --conf)."
        )
    return told["place"], told["format"]


def places_told(warehouse: str) -> dict[str, Any]:
    """What has been written down: table, place and format by our name of each."""
    store, path = filesystem(within(warehouse, FILE))
    if store.get_file_info(path).type != fs.FileType.File:
        return {}
    with store.open_input_stream(path) as file:
        found: dict[str, Any] = json.loads(file.read())
    return found


def write_places(warehouse: str, places: Mapping[str, Mapping[str, str]]) -> None:
    """Write down where tables are, for readers without Spark; all of them at once."""
    store, path = filesystem(within(warehouse, FILE))
    if isinstance(store, fs.LocalFileSystem):
        store.create_dir(path.rpartition("/")[0])
        part = f"{path}.part"
    else:
        part = path  # an object is there whole, or not at all
    with store.open_output_stream(part) as file:
        file.write(json.dumps(dict(places), indent=1, sort_keys=True).encode())
    if part != path:
        store.move(part, path)
