"""Retention: which refreshes stay reproducible, which rows expire, which files are deleted.

A refresh is *pinned* while it is younger than `maintenance.reproduce`, while it is named in
`maintenance.pinned`, while it is the newest of its policy, and while the champion learnt from it.
The versions that its manifest names (what it read, what it wrote) can be read as long as it is
pinned, whatever is compacted, expired or deleted. A running job reads versions that were current
when it began: their files are kept for `maintenance.unused_files`, at least seven days.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from delta.tables import DeltaTable
from deltalake import DeltaTable as Snapshot
from deltalake.exceptions import DeltaError
from pyspark.sql import Column
from pyspark.sql import functions as F

from schemas.errors import ConfigurationError, ConflictError
from schemas.log import log
from schemas.manifests import Manifest, read_manifests
from schemas.places import for_spark
from schemas.registry import champion_version, mlflow_client, registry_exists
from schemas.sections.section import parse_duration
from spark_jobs.storage.warehouse import CONFLICTS, Warehouse

REFRESH_TABLES = ("selection_probabilities", "sampled", "holdout")


def pinned_refreshes(warehouse: Warehouse, now: datetime) -> dict[str, Manifest]:
    """Manifests of the refreshes that must stay reproducible, by id."""
    settings = warehouse.pipeline.maintenance
    manifests = read_manifests(warehouse.path("refreshes"))
    known = {manifest.refresh_id: manifest for manifest in manifests}
    unknown = sorted(set(settings.pinned) - set(known))
    if unknown:
        raise ConfigurationError(
            f"maintenance.pinned = {unknown[0]!r}: no such refresh. Remedy: take it out, or"
            " correct the name (`tenforward status` lists them)."
        )
    since = now - parse_duration(settings.reproduce)
    newest = {manifest.policy: manifest.refresh_id for manifest in reversed(manifests)}
    wanted = {*settings.pinned, *newest.values(), *_learnt_from(warehouse)}
    return {
        name: manifest
        for name, manifest in known.items()
        if name in wanted or manifest.created_at >= since
    }


def _learnt_from(warehouse: Warehouse) -> set[str]:
    """The refresh that the model in service was trained on."""
    if not registry_exists(warehouse.root):
        return set()
    version = champion_version(mlflow_client(warehouse.root), warehouse.pipeline.name)
    return set() if version is None else {version.tags.get("refresh_id", "")}


def pinned_versions(manifests: Iterable[Manifest]) -> dict[str, set[int]]:
    """The table versions that these refreshes read and wrote."""
    versions: dict[str, set[int]] = {}
    for manifest in manifests:
        for name, version in manifest.versions().items():
            versions.setdefault(name, set()).add(version)
    return versions


def expired_rows(
    warehouse: Warehouse, name: str, pinned: Iterable[str], today: date
) -> tuple[int, list[Any]]:
    """Rows of a table that are due, from its log alone: their number, and their partitions."""
    keep = warehouse.pipeline.maintenance.keep.model_dump()
    by_refresh = name in REFRESH_TABLES
    duration = keep.get("refreshes" if by_refresh else name)
    if duration is None or name == "refreshes":  # whose manifests stay
        return 0, []
    before = today - parse_duration(duration)
    kept = set(pinned)
    if by_refresh:
        manifests = read_manifests(warehouse.path("refreshes"))
        due = {manifest.refresh_id for manifest in manifests if manifest.ds < before} - kept
    rows: dict[Any, int] = {}
    for file in warehouse.files(name):
        value = next(iter(file["partition"].values()))
        if value in due if by_refresh else value < before:
            rows[value] = rows.get(value, 0) + file["rows"]
    return sum(rows.values()), sorted(rows)


def expire(warehouse: Warehouse, name: str, partitions: Sequence[Any]) -> None:
    """Delete whole partitions; pinned versions still hold their rows.

    An append-only table is opened for this one commit. A writer that commits at that very moment
    gets a conflict, as it would from any change of the table, and repeats.
    """
    table = warehouse.tables[name]
    path = for_spark(warehouse.path(name))
    append_only = table.properties.get("delta.appendOnly") == "true"
    due: Column = F.col(table.partition_by[0]).isin(list(partitions))
    try:
        if append_only:
            _set_append_only(warehouse, path, "false")
        try:
            DeltaTable.forPath(warehouse.spark, path).delete(due)
        finally:  # killed here, it is the next run that closes the table
            if append_only:
                _set_append_only(warehouse, path, "true")
    except CONFLICTS as error:
        raise ConflictError(
            f"table {name}: rows not expired, another job changed the table meanwhile. Remedy:"
            " repeat the command when it has ended."
        ) from error


def _set_append_only(warehouse: Warehouse, path: str, value: str) -> None:
    warehouse.spark.sql(
        f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ('delta.appendOnly' = '{value}')"
    )


def readable(warehouse: Warehouse, name: str, versions: Iterable[int]) -> list[int]:
    """The versions whose commits the log still has."""
    there = []
    for version in sorted(versions):
        try:
            Snapshot(warehouse.path(name), version=version)
        except DeltaError:  # nothing can be kept for it
            log.warning("%s: version %d is pinned, and the table's log has lost it", name, version)
            continue
        there.append(version)
    return there


def delete_unused_files(
    warehouse: Warehouse, name: str, keep: Sequence[int], *, dry_run: bool
) -> list[str]:
    """Delete files that no version in `keep` nor the newest needs, dropped long enough ago.

    Files of writes that never committed are among them; so are, on a local disk, old checksums
    that Hadoop laid beside its files, which nobody misses. Returns the data files.

    By delta-rs: it can keep versions by number, where Spark's VACUUM only knows ages, and forgets
    what was dropped before `delta.deletedFileRetentionDuration`.
    """
    hours = parse_duration(warehouse.pipeline.maintenance.unused_files) // timedelta(hours=1)
    deleted = Snapshot(warehouse.path(name)).vacuum(
        retention_hours=hours,
        dry_run=dry_run,
        enforce_retention_duration=False,  # maintenance.unused_files has its own least value
        full=True,
        keep_versions=list(keep) or None,
    )
    return [path for path in deleted if not path.endswith(".crc")]
