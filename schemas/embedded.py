"""The registry's database in a warehouse: its bundles are where the warehouse is, also once that
was copied or moved. MLflow keeps absolute places."""

import sqlite3
from contextlib import closing
from pathlib import Path

from schemas.errors import ConfigurationError, ConflictError
from schemas.log import log

FOLDER = "mlartifacts"
_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
_ELSEWHERE = (
    "{column} LIKE 'file://%/' || :folder || '%' AND {column} != :here"
    " AND substr({column}, 1, length(:here) + 1) != :here || '/'"
)
_PATIENCE_S = 30.0


def bring_along(database: Path, here: str) -> None:
    """Let every place in an embedded database lie under `here`, the URI of the warehouse's bundles.

    Raises ConflictError while another process holds the database, ConfigurationError where it is
    not to be written or is no registry.
    """
    try:
        with closing(sqlite3.connect(database, timeout=_PATIENCE_S)) as connection:
            if _moved(connection, here):
                _update(connection, here)
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise ConflictError(f"{database}: {error}. Remedy: repeat.") from error
        raise ConfigurationError(
            f"{database}: the warehouse was copied or moved, and its registry cannot be told"
            f" ({error}). Remedy: run `tenforward status` there once with the right to write it."
        ) from error


def _moved(connection: sqlite3.Connection, here: str) -> bool:
    there = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    return any(
        connection.execute(
            f"SELECT 1 FROM {table} WHERE {_ELSEWHERE.format(column=column)} LIMIT 1",
            {"here": here, "folder": FOLDER},
        ).fetchone()
        for table, column in _PLACES
        if table in there
    )


def _update(connection: sqlite3.Connection, here: str) -> None:
    with connection:
        for table, column in _PLACES:
            rest = f"substr({column}, instr({column}, '/' || :folder) + length(:folder) + 1)"
            connection.execute(
                f"UPDATE {table} SET {column} = :here || {rest}"
                f" WHERE {_ELSEWHERE.format(column=column)}",
                {"here": here, "folder": FOLDER},
            )
    log.info("registry: the warehouse was copied or moved; its bundles are at %s", here)
