"""The files that a refresh has left in a table, each with the checksum of its bytes."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

from schemas.manifests import Part, StoredFile
from schemas.places import filesystem
from spark_jobs.storage.warehouse import Warehouse

DRIVER_BYTES = 1 << 28  # up to here the driver reads them itself, faster than a Spark job begins
_AT_ONCE = 1 << 20


def part_of(warehouse: Warehouse, name: str, version: int, refresh_id: str) -> Part:
    """The files of a refresh at a version of a table, in the order of their paths.

    Checksums are taken from storage right after the write and before the manifest, so that what
    the manifest pins is what a reader would have found then.
    """
    files = [
        file
        for file in warehouse.files(name, version)
        if file["partition"]["refresh_id"] == refresh_id
    ]
    paths = [f"{name}/{unquote(file['path'])}" for file in files]
    sums = _checksums(warehouse, paths, sum(file["bytes"] for file in files))
    return Part(
        version,
        tuple(
            StoredFile(path, file["rows"], file["bytes"], sha256)
            for path, file, sha256 in zip(paths, files, sums, strict=True)
        ),
    )


def _checksums(warehouse: Warehouse, paths: Sequence[str], size: int) -> list[str]:
    places = [warehouse.path(path) for path in paths]
    if size <= DRIVER_BYTES:
        with ThreadPoolExecutor(max_workers=4) as pool:
            return list(pool.map(sha256_of, places))
    spread = warehouse.spark.sparkContext.parallelize(places, len(places))
    return spread.map(sha256_of).collect()


def sha256_of(place: str) -> str:
    """SHA-256 of a file, in hexadecimal."""
    state = hashlib.sha256()
    store, path = filesystem(place)
    with store.open_input_stream(path) as file:
        while part := file.read(_AT_ONCE):
            state.update(part)
    return state.hexdigest()
