"""Where things are: in a folder of this machine, or under a prefix of an object store.

Everything that tells the two apart is here. A table on S3 has two names: s3:// for delta-rs, for
pyarrow and for people, s3a:// for Spark. Credentials, endpoint and region come from the
environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_ENDPOINT_URL,
AWS_REGION), where delta-rs, boto3 and Spark look for them too; they are never logged.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from pyarrow import fs

from schemas.errors import ConfigurationError

HOLDS_A_USER = "the URI holds a user or a password"
BY_ENVIRONMENT = "leave it out; AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY give the credentials"


def is_remote(place: str) -> bool:
    """Whether a place is on an object store."""
    return "://" in place


def names_a_user(place: str) -> bool:
    """Whether a URI holds a user or a password, which manifests, models and logs would repeat."""
    return is_remote(place) and "@" in place.partition("://")[2].partition("/")[0]


def within(warehouse: str, name: str) -> str:
    """The absolute path or URI of something in a warehouse.

    Raises ConfigurationError for a URI with a user or a password, and does not repeat it.
    """
    if not is_remote(warehouse):
        return str(Path(warehouse).resolve() / name)
    if names_a_user(warehouse):
        raise ConfigurationError(f"--warehouse: {HOLDS_A_USER}. Remedy: {BY_ENVIRONMENT}.")
    # Hadoop's users write s3a where the rest of the world writes s3.
    return f"{warehouse.replace('s3a://', 's3://', 1).rstrip('/')}/{name}"


def as_uri(place: str) -> str:
    """A place as a URI."""
    return place if is_remote(place) else Path(place).as_uri()


def for_spark(place: str) -> str:
    """The same place as Spark calls it."""
    return place.replace("s3://", "s3a://", 1) if place.startswith("s3://") else place


def filesystem(place: str) -> tuple[fs.FileSystem, str]:
    """The file system of a place, and the place's path there."""
    if not is_remote(place):
        return fs.LocalFileSystem(), place
    if not place.startswith("s3://"):
        return fs.FileSystem.from_uri(place)
    # pyarrow 14 does not look for these two itself.
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return _s3(os.environ.get("AWS_ENDPOINT_URL"), region), place.removeprefix("s3://")


@lru_cache
def _s3(endpoint: str | None, region: str | None) -> fs.FileSystem:
    return fs.S3FileSystem(endpoint_override=endpoint, region=region)


def size_of(place: str) -> int | None:
    """Bytes of a file; None where there is none."""
    store, path = filesystem(place)
    info = store.get_file_info(path)
    return int(info.size) if info.type == fs.FileType.File else None


@contextmanager
def on_this_machine(places: Sequence[str]) -> Iterator[list[Path]]:
    """The files as local ones: themselves, or copies of those on an object store, meanwhile."""
    if not any(map(is_remote, places)):
        yield [Path(place) for place in places]
        return
    with tempfile.TemporaryDirectory(prefix="tenforward-") as folder:
        copies = [Path(folder) / f"{number:06}.parquet" for number in range(len(places))]
        for place, copy in zip(places, copies, strict=True):
            store, path = filesystem(place)
            with store.open_input_stream(path) as source, copy.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
        yield copies


def state_folder(warehouse: str) -> Path:
    """Where the locks and checkpoints of a warehouse are; the folder is made."""
    folder = state_place(warehouse)
    if is_remote(warehouse):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def state_place(warehouse: str) -> Path:
    """Where the locks and checkpoints of a warehouse would be.

    In it, where it is a folder. An object store has neither locks nor renames, so there they are on
    this machine, below $TENFORWARD_STATE (default ~/.cache/tenforward), a folder a warehouse: two
    trainings on one machine keep out of each other's way, two on different machines do not.
    """
    if not is_remote(warehouse):
        return Path(warehouse).resolve()
    base = os.environ.get("TENFORWARD_STATE") or Path.home() / ".cache" / "tenforward"
    return Path(base) / quote(within(warehouse, "").rstrip("/"), safe="")
