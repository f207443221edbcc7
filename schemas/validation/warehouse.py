"""Whether a warehouse can be one, and whether it is this pipeline's. Without Spark.

Every rule takes the place as it was given, and the name of the pipeline, where that is known.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from schemas.ownership import OWNER, later_format, of_another
from schemas.places import BY_ENVIRONMENT, HOLDS_A_USER, is_remote, names_a_user, within
from schemas.sections.fault import Fault
from schemas.tables import fixed_tables

FIELD = "--warehouse"
SCHEMES = ("s3", "s3a")
# What some library takes for something else in a path, each tried with all of them: Petastorm and
# MLflow's database end at # and ?, Spark and MLflow decode %, delta-rs refuses the others.
CHARACTERS = "#?%[]|^\\`"
# Of every pipeline; its views are in a folder of their own.
TABLES = ("instances", "labels", "sampled", "holdout", *(table.name for table in fixed_tables()))


def place_is_known(warehouse: str, name: str | None) -> Iterator[Fault]:
    """A place of a kind that some library of ours does not know."""
    scheme, there, rest = warehouse.partition("://")
    if not warehouse.strip():
        yield Fault(FIELD, warehouse, "empty", "name a folder, or a URI such as s3://bucket/prefix")
    elif names_a_user(warehouse):
        yield Fault(FIELD, None, HOLDS_A_USER, BY_ENVIRONMENT)
    elif there and scheme.lower() == "file":
        yield Fault(FIELD, warehouse, "a file: URI", f"write the path alone, {rest or '/'}")
    elif there and scheme not in SCHEMES:
        remedy = "name a folder, or a URI such as s3://bucket/prefix"
        yield Fault(FIELD, warehouse, f"tables cannot be kept on {scheme}://", remedy)
    elif there and not rest.strip("/"):
        yield Fault(FIELD, warehouse, "names no bucket", f"write {scheme}://bucket/prefix")
    elif not there and re.match(r"(s3a?|gs|abfss?|hdfs|file)(:|//)", warehouse, re.IGNORECASE):
        yield Fault(FIELD, warehouse, "no URI", "write it as s3://bucket/prefix")
    elif unset := re.search(r"^~|(?<![^/])\${?\w+}?|{pipeline}", warehouse):
        problem = f"nothing puts anything in the place of {unset[0]}"
        yield Fault(FIELD, warehouse, problem, "write the path out")
    elif not there:
        try:
            Path(warehouse).resolve().exists()
        except (OSError, RuntimeError, ValueError) as error:
            problem = f"no path: {getattr(error, 'strerror', None) or error}"
            yield Fault(FIELD, warehouse, problem, "name a folder")


def characters_are_taken(warehouse: str, name: str | None) -> Iterator[Fault]:
    """A character in the path that some library takes for something else."""
    whole = within(warehouse, "").rstrip("/")
    wrong = [c for c in dict.fromkeys(whole) if c in CHARACTERS or not c.isprintable()]
    if wrong:
        problem = f"{' '.join(map(repr, wrong))} in {whole!r} would be taken for something else"
        yield Fault(FIELD, warehouse, problem, "choose a path without it")


def folder_is_one(warehouse: str, name: str | None) -> Iterator[Fault]:
    """What is there and is no warehouse: a file, or a folder with other things in it."""
    if is_remote(warehouse):
        return
    root = Path(warehouse).resolve()
    there = next(one for one in (root, *root.parents) if one.exists())
    try:
        entries = {one.name for one in root.iterdir()} if root.is_dir() else set()
    except OSError as error:  # not ours to read
        problem = f"cannot be read: {error.strerror}"
        yield Fault(FIELD, warehouse, problem, "change its permissions, or name another folder")
        return
    if not there.is_dir():
        yield Fault(FIELD, warehouse, f"{there} is not a folder", "name a folder")
    elif (root / "_delta_log").exists():
        remedy = f"name the folder around it, {root.parent}"
        yield Fault(FIELD, warehouse, "a Delta table itself", remedy)
    elif not any((root / table / "_delta_log").exists() for table in TABLES):
        foreign = sorted(one for one in entries if not _ours(one))
        if foreign:
            more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
            problem = f"holds {', '.join(foreign[:3])}{more}, and no table of tenforward"
            yield Fault(FIELD, warehouse, problem, "name a new folder, or that of the tables")


def _ours(entry: str) -> bool:
    """Whether something in a warehouse is from us, beside the tables."""
    from schemas.manifests import REPORT_CARDS  # and with it pandas, for what is seldom asked

    made = (REPORT_CARDS, "mlartifacts", "checkpoints", "features")
    return entry in made or entry.startswith((".", "mlflow.db"))


def can_be_written(warehouse: str, name: str | None) -> Iterator[Fault]:
    """A folder that this process may not write to."""
    if is_remote(warehouse):
        return
    root = Path(warehouse).resolve()
    there = next(one for one in (root, *root.parents) if one.exists())
    if there.is_dir() and not os.access(there, os.W_OK | os.X_OK):
        problem = f"{there} cannot be written to by this user"
        yield Fault(FIELD, warehouse, problem, "change its permissions, or name another folder")


def owner_is_this(warehouse: str, name: str | None) -> Iterator[Fault]:
    """A warehouse that holds another pipeline, or tables of a later release."""
    tables = (within(warehouse, table) for table in TABLES)
    there = next(filter(None, map(properties_of, tables)), {})
    later = later_format(there, warehouse)
    if later is not None:
        yield later
    owner = there.get(OWNER)
    if name is not None and owner is not None and owner != name:
        yield of_another(owner, name, warehouse)


def properties_of(path: str) -> Mapping[str, str | None]:
    """What a table says of itself; nothing where there is no table."""
    from deltalake import DeltaTable as Snapshot  # which a pipeline alone does not need
    from deltalake.exceptions import DeltaError

    try:
        return Snapshot(path).metadata().configuration
    except (DeltaError, OSError):
        return {}
