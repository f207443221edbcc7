"""The files that a refresh has left in a table, each with the checksum of its bytes."""

import struct
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from schemas import digest
from schemas.errors import DataQualityError
from schemas.manifests import Part, StoredFile
from schemas.places import is_remote
from spark_jobs.storage.warehouse import Warehouse

DRIVER_BYTES = 1 << 28  # up to here the driver reads them itself, faster than a Spark job begins
_SUMMED = 512  # bytes for each of Hadoop's sums; divides what is read at once


def part_of(warehouse: Warehouse, name: str, version: int, refresh_id: str) -> Part:
    """The files of a refresh at a version of a table, in the order of their paths.

    Checksums are of what the writer wrote (`sha256_of`): the manifest names no other file.
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
    """SHA-256 of a file, in hexadecimal.

    On a local disk Hadoop lays the sums that it takes while it writes beside the file, and what is
    read here is held against those. Raises DataQualityError where it is not what was written.
    """
    written = _sums_while_written(place)
    look = None if written is None else partial(_require_as_written, place, written)
    return digest.sha256_of(place, look)


def _sums_while_written(place: str) -> Iterator[tuple[int]] | None:
    """CRC-32 of every `_SUMMED` bytes, as Hadoop's ChecksumFileSystem keeps them; None without."""
    beside = Path(place).with_name(f".{Path(place).name}.crc")
    if is_remote(place) or not beside.exists():
        return None
    content = beside.read_bytes()
    if content[:8] != struct.pack(">4si", b"crc\0", _SUMMED):
        return None
    return struct.iter_unpack(">I", content[8:])


def _require_as_written(place: str, written: Iterator[tuple[int]], part: bytes) -> None:
    for start in range(0, len(part), _SUMMED):
        if (zlib.crc32(part[start : start + _SUMMED]),) != next(written, None):
            raise DataQualityError(
                f"{place}: its bytes are not those that were written. Remedy: repeat the command;"
                " where that does not help, look at the disk."
            )
