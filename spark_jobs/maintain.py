"""Maintain: compact small files, expire rows that are due, delete files that nothing needs.

    tenforward maintain --pipeline pipelines/flights.toml --dry-run

Safe beside every other job, and safe to repeat: what is not worth doing is not done. Spark starts
only where a table must be rewritten.
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from math import ceil
from typing import Any

from schemas.command import add_common_arguments, pipeline_of, run_command
from schemas.errors import ConfigurationError, ConflictError
from schemas.log import log
from schemas.progress import step
from spark_jobs.storage.compaction import compact, compactable, in_partition, to_compact
from spark_jobs.storage.properties import give, lacking, of_settings
from spark_jobs.storage.retention import (
    delete_unused_files,
    expire,
    expired_rows,
    pinned_refreshes,
    pinned_versions,
    readable,
)
from spark_jobs.storage.warehouse import Warehouse


def maintain(
    warehouse: Warehouse,
    names: Sequence[str] | None = None,
    *,
    now: datetime | None = None,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Maintain the tables (all, if none is named); the result of the command.

    A conflict in one table does not keep the others from being maintained; it is raised at the
    end, as ConflictError.
    """
    now = now or datetime.now(UTC)
    names = list(names or warehouse.own_tables)
    unknown = sorted(set(names) - set(warehouse.tables))
    if unknown:
        raise ConfigurationError(
            f"--table = {unknown[0]!r}: no such table. Remedy: use {', '.join(warehouse.tables)}."
        )
    for name in names:
        warehouse.require_own(name)
    warehouse.require(*warehouse.own_tables)
    names = [name for name in names if warehouse.exists(name)]  # an optional one may be lacking
    pinned = pinned_refreshes(warehouse, now)
    versions = pinned_versions(pinned.values())
    reports, conflicts = {}, []
    with step("maintain", len(names), "tables") as through:
        for name in names:
            keep = readable(warehouse, name, versions.get(name, ()))
            try:
                with step(name):
                    given = _give_properties(warehouse, name, keep, now, dry_run)
                    report = _maintain_table(warehouse, name, list(pinned), keep, now, dry_run)
                reports[name] = report | {"properties": given}
            except ConflictError as error:
                log.error("%s", error)
                conflicts.append(str(error))
            else:
                log.info("%s: %s", name, _line(reports[name]))
            through.add()
    if conflicts:
        raise ConflictError(" ".join(conflicts))
    did = any(_line(report) != NOTHING for report in reports.values())
    return {
        "status": "planned" if dry_run and did else "done" if did else "already done",
        "pipeline": warehouse.pipeline.name,
        "pinned_refreshes": sorted(pinned),
        "tables": reports,
    }


def _give_properties(
    warehouse: Warehouse, name: str, keep: Sequence[int], now: datetime, dry_run: bool
) -> dict[str, str]:
    """Those that the table lacked, before anything is deleted that they keep."""
    table, path, settings = warehouse.tables[name], warehouse.path(name), warehouse.pipeline
    lacks = lacking(path, of_settings(table, path, settings.maintenance, keep, now))
    if not dry_run:
        give(path, lacks)
    return lacks


def _maintain_table(
    warehouse: Warehouse,
    name: str,
    pinned: Sequence[str],
    keep: Sequence[int],
    now: datetime,
    dry_run: bool,
) -> dict[str, Any]:
    """Expire, compact, delete; what was done, or with `dry_run` what would be."""
    before = warehouse.files(name)
    rows, due = expired_rows(warehouse, name, pinned, now.date())
    if due and not dry_run:
        with step(f"expiring {rows:,} rows"):
            expire(warehouse, name, due)
    partitions = to_compact(warehouse, name, due) if name in compactable(warehouse) else []
    if partitions and not dry_run:
        with step(f"compacting {sum(one.files for one in partitions):,} files"):
            compact(warehouse, warehouse.tables[name], partitions)
    with step("looking for unused files"):
        deleted = delete_unused_files(warehouse, name, keep, dry_run=dry_run)
    after, fewer = warehouse.files(name), 0
    if dry_run:  # what expiry would leave, and of its small files those that would be made of them
        after = [file for file in after if not in_partition(file, due)]
        target = warehouse.pipeline.maintenance.target_mb << 20
        fewer = sum(one.files - ceil(one.bytes / target) for one in partitions)
    return {
        "expired_rows": rows,
        "expired_partitions": len(due),
        "compacted_partitions": len(partitions),
        "compacted_files": sum(one.files for one in partitions),
        "deleted_files": len(deleted),
        "kept_versions": list(keep),
        "files": [len(before), len(after) - fewer],
        "bytes": [sum(file["bytes"] for file in files) for files in (before, after)],
        "version": warehouse.version(name),
    }


NOTHING = "nothing to do"


def _line(report: dict[str, Any]) -> str:
    """One table's report in words."""
    parts = []
    if report["expired_rows"]:
        parts.append(f"{report['expired_rows']} rows expired")
    if report["compacted_files"]:
        parts.append(
            f"{report['compacted_files']} small files in {report['compacted_partitions']}"
            " partitions compacted"
        )
    if report["properties"]:
        parts.append(f"{', '.join(report['properties'])} set")
    if report["deleted_files"]:
        parts.append(f"{report['deleted_files']} unused files deleted")
    return ", ".join(parts) or NOTHING


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(
        prog="tenforward maintain",
        description="Compact small files, expire rows that are due, delete unused files.",
    )
    add_common_arguments(line)
    line.add_argument(
        "--table", action="append", dest="tables", metavar="NAME", help="only this one; repeatable"
    )
    line.add_argument("--dry-run", action="store_true", help="say what would be done")
    return line


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> maintenance -> report by table."""
    args = parser().parse_args(argv)
    pipeline = pipeline_of(args)
    warehouse = Warehouse(args.warehouse, pipeline)
    return maintain(warehouse, args.tables, dry_run=args.dry_run)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
