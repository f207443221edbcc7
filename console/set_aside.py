"""`tenforward set-aside ID...`: instances that no refresh is to draw any more, or again.

tenforward set-aside 2013-02-01-0042 --reason "label swapped" --by ada \
    --pipeline pipelines/flights.toml
"""

import argparse
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable as Snapshot
from deltalake import write_deltalake
from pyarrow.dataset import field

from schemas.command import add_common_arguments, pipeline_of, run_command
from schemas.errors import ConfigurationError, NoDataError
from schemas.foreign_source import foreign_source
from schemas.log import about, log
from schemas.ownership import require_owner
from schemas.pipeline import Pipeline
from schemas.places import within
from schemas.set_aside import SET_ASIDE, ids_set_aside, version_set_aside
from schemas.side_tables import set_aside as definition
from schemas.stored import stored
from schemas.tables import instances

FEW = 5  # ids that are named


def set_aside(
    pipeline: Pipeline,
    warehouse: str,
    ids: Sequence[str],
    *,
    reason: str,
    by: str,
    undo: bool = False,
) -> dict[str, Any]:
    """Set instances aside, or with `undo` take that back, in one commit; the result of the command.

    Those that are as wished already are left alone. Raises ConfigurationError for an empty reason
    or name and for another pipeline's warehouse, NoDataError for ids that `instances` lacks; then
    nothing is written.
    """
    for option, text in (("--reason", reason), ("--by", by)):
        if not text.strip():
            raise ConfigurationError(f"{option} = {text!r}: empty. Remedy: say it in words.")
    wanted = list(dict.fromkeys(ids))
    _require_known(pipeline, warehouse, wanted)
    aside = set(ids_set_aside(warehouse, version_set_aside(warehouse)))
    changed = [one for one in wanted if (one in aside) == undo]
    if changed:
        said = {"aside": not undo, "reason": reason, "by": by, "at": datetime.now(UTC)}
        rows = [{"instance_id": one, **said} for one in changed]
        added = pa.Table.from_pylist(rows, definition().arrow_schema)
        write_deltalake(_table(pipeline, warehouse), added, mode="append")
    aside = aside - set(changed) if undo else aside | set(changed)
    return {
        "status": "done" if changed else "already done",
        "pipeline": pipeline.name,
        "taken_back" if undo else "set_aside": changed,
        "already": [one for one in wanted if one not in changed],
        "all_set_aside": len(aside),
        "version": version_set_aside(warehouse),
    }


def _require_known(pipeline: Pipeline, warehouse: str, ids: Sequence[str]) -> None:
    """Refuse ids that no instance has: a slip of the pen would keep nothing out."""
    there = {one for rows in _ids_there(pipeline, warehouse, ids) for one in rows.to_pylist()}
    unknown = [one for one in ids if one not in there]
    if unknown:
        more = ", ..." if len(unknown) > FEW else ""
        raise NoDataError(
            f"ID = {', '.join(unknown[:FEW])}{more}: the table instances has no such"
            f" {'instances' if len(unknown) > 1 else 'instance'}; nothing was written. Remedy:"
            " correct the id."
        )


def _ids_there(pipeline: Pipeline, warehouse: str, ids: Sequence[str]) -> Iterator[pa.ChunkedArray]:
    """Those of the ids that an instance has, wherever the instances are."""
    source, mine = foreign_source(pipeline, warehouse, "instances"), field("instance_id").isin(ids)
    if source is not None:
        source.require()
        yield from (one.filter(mine)["instance_id"] for one in source.rows(["instance_id"]))
        return
    path = within(warehouse, "instances")
    if not Snapshot.is_deltatable(path):
        raise ConfigurationError(
            f"table instances = {path}: not found. Remedy: run `tenforward init`, or correct"
            " --warehouse."
        )
    rows = stored(Snapshot(path), instances(pipeline).arrow_schema)
    if rows is not None:
        yield rows.to_table(columns=["instance_id"], filter=mine)["instance_id"]


def _table(pipeline: Pipeline, warehouse: str) -> Snapshot:
    """The table, which is made when the first instance is set aside."""
    table, path = definition(), within(warehouse, SET_ASIDE)
    if not Snapshot.is_deltatable(path):
        properties = dict(table.properties)
        Snapshot.create(
            path, table.arrow_schema, "ignore", description=table.doc, configuration=properties
        )
    snapshot = Snapshot(path)
    require_owner(snapshot, pipeline.name, warehouse)
    return snapshot


def _job(argv: Sequence[str] | None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="tenforward set-aside", description=__doc__)
    parser.add_argument("ids", metavar="ID", nargs="+", help="an instance_id; several may follow")
    add_common_arguments(parser)
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why, for whoever asks")
    parser.add_argument("--by", required=True, metavar="NAME", help="who says so")
    parser.add_argument("--undo", action="store_true", help="let them be drawn again")
    args = parser.parse_args(argv)
    pipeline = pipeline_of(args)
    about(pipeline=pipeline.name)
    result = set_aside(
        pipeline, args.warehouse, args.ids, reason=args.reason, by=args.by, undo=args.undo
    )
    if not args.json:
        log.info("%d instances are set aside now", result["all_set_aside"])
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return run_command(_job, argv)


if __name__ == "__main__":
    raise SystemExit(main())
