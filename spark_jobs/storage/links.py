"""Whether a folder's file system keeps two writers apart: a name is given once, or refused."""

import os
import uuid
from pathlib import Path

from schemas.errors import ConfigurationError
from schemas.places import is_remote


def require_links(warehouse: str) -> None:
    """Refuse a folder in which a second link to one name does not fail.

    Spark (`LinkLogStore.java`) and delta-rs commit a version by linking it to its name. Raises
    ConfigurationError. A folder that cannot be written to is left to who writes there.
    """
    if is_remote(warehouse):
        return
    staged = Path(warehouse) / f".links-{uuid.uuid4().hex}"
    name = staged.with_suffix(".name")
    try:
        staged.parent.mkdir(parents=True, exist_ok=True)
        staged.touch(exist_ok=False)
    except OSError:  # read-only, or full: the first write tells
        return
    try:
        os.link(staged, name)
        try:
            os.link(staged, name)
        except FileExistsError:
            return
        told = "gives one name twice"
    except OSError as error:
        told = f"knows no hard links ({error.strerror})"
    finally:
        for path in (staged, name):
            path.unlink(missing_ok=True)
    raise ConfigurationError(
        f"--warehouse = {warehouse}: its file system {told}, so that two writers could commit one"
        " version of a table and lose rows. Remedy: put the warehouse on a file system with hard"
        " links (ext4, XFS, NFS, ...), or on an object store."
    )
