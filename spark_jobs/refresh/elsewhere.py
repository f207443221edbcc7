"""Tables that are somebody else's, when a refresh is made again: are they still what it read?"""

from typing import TYPE_CHECKING

from schemas.errors import ConfigurationError
from schemas.log import log
from schemas.manifests import Manifest

if TYPE_CHECKING:
    from spark_jobs.storage.warehouse import Warehouse

_ANEW = "`tenforward select --force` makes the refresh from the tables as they are"


def require_as_pinned(warehouse: "Warehouse", manifest: Manifest) -> None:
    """Refuse a source that is another table now, or that has no versions and has changed; say of
    the others without versions what a rebuild cannot promise. Raises ConfigurationError."""
    pinned = {} if manifest.decided is None else manifest.decided.elsewhere
    for name, now in warehouse.pins_elsewhere().items():
        then, source = pinned.get(name), warehouse.foreign(name)
        assert source is not None  # or it would have no pin
        if then is not None and dict(then) != now:
            raise ConfigurationError(
                f"table {source.table}: refresh {manifest.refresh_id} read another table,"
                f" {then['place']} ({then['format']}, id {then['id']}); here is id {now['id']}."
                f" Remedy: restore that one in its place; or {_ANEW}."
            )
        if source.table.format != "parquet":
            continue
        if source.version() != manifest.inputs.versions[name]:
            raise ConfigurationError(
                f"table {source.table}: its files are not those that refresh"
                f" {manifest.refresh_id} read, and Parquet keeps no versions. Remedy: put the files"
                f" back as they were; or {_ANEW}."
            )
        log.warning(
            "table %s: Parquet has no versions; its files have the names, sizes and times that they"
            " had, which is all that a rebuild can tell of their rows",
            source.table,
        )
