"""`tenforward explain ID`: one instance, from its forward passes to the models that learnt from it.

tenforward explain 2013-02-01-0042 --pipeline pipelines/flights.toml
"""

import argparse
from collections.abc import Sequence
from typing import Any

from console.status import refreshes_path
from schemas.command import add_common_arguments, pipeline_of, run_command
from schemas.errors import NoDataError
from schemas.log import about, log
from schemas.manifests import Manifest, read_manifests
from schemas.pipeline import Pipeline
from schemas.progress import step
from spark_jobs.explained.instance import Instance, instance_of
from spark_jobs.explained.learners import learners
from spark_jobs.explained.refreshes import DIFFERS, in_refresh
from spark_jobs.refresh.registered import registered_versions
from spark_jobs.storage import logs

_READ = ("instances", "forward_records", "labels", "forward_rejects", "selection_probabilities")


def explain(
    pipeline: Pipeline, warehouse: str, instance_id: str, refresh_id: str | None = None
) -> dict[str, Any]:
    """What is known of an instance: its rows, what every refresh whose window holds its event date
    made of it (or the one that is named), and which models learnt from it.

    Every refresh is drawn again from its pinned inputs, which reads the records and labels of its
    window: name one where there are many and their windows are large. Raises ConfigurationError
    for a warehouse without the tables, NoDataError for an id or a refresh that is not there.
    """
    manifests = read_manifests(refreshes_path(warehouse), pipeline=pipeline.name)
    logs.require(pipeline, warehouse, *_READ)
    found = instance_of(pipeline, warehouse, instance_id)
    wanted = _of_window(manifests, found, refresh_id)
    refreshes = []
    with step("drawing refreshes again", len(wanted), "refreshes") as counted:
        for manifest in wanted:
            assert found.day is not None  # or no window would hold it
            refreshes.append(in_refresh(pipeline, warehouse, manifest, instance_id, found.day))
            counted.add()
    digests = {one.refresh_id: one.sample_digest for one in wanted}
    drawn = [one["refresh_id"] for one in refreshes if one["outcome"] == "drawn"]
    versions = registered_versions(warehouse, pipeline.name)
    return {
        "pipeline": pipeline.name,
        "instance_id": instance_id,
        "event_date": found.day,
        "instances": found.asked,
        "forward_records": found.records,
        "labels": found.labels,
        "forward_rejects": found.rejects,
        "set_aside": found.aside,
        "refreshes": refreshes,
        "models": learners(versions, {name: digests[name] for name in drawn}),
    }


def _of_window(
    manifests: Sequence[Manifest], found: Instance, refresh_id: str | None
) -> list[Manifest]:
    """The refreshes, oldest first, whose window holds the instance; only the one that is named."""
    if found.day is None and not found.rejects:
        raise NoDataError(
            f"ID = {found.instance_id}: no table has such an instance. Remedy: correct the id, or"
            " --warehouse."
        )
    day = found.day
    within = [
        one
        for one in reversed(manifests)
        if day is not None and one.inputs.window_start <= day <= one.ds
    ]
    if refresh_id is None:
        return within
    named = [one for one in within if one.refresh_id == refresh_id]
    if not named:
        known = ", ".join(one.refresh_id for one in within) or "none"
        raise NoDataError(
            f"--refresh = {refresh_id}: no refresh whose window holds {found.instance_id} (event"
            f" date {day}). Remedy: name one of these: {known}."
        )
    return named


def in_words(result: dict[str, Any]) -> list[str]:
    """The result as lines for a person."""
    lines = [
        f"instance {result['instance_id']} of {result['event_date']}:"
        f" {len(result['forward_records'])} forward records, {len(result['labels'])} labels,"
        f" {len(result['forward_rejects'])} rejects"
    ]
    lines += [_line(one) for one in result["refreshes"]]
    for model in result["models"]:
        lines.append(
            f"model version {model['version']} learnt from it in {model['refresh_id']}:"
            f" {model['how']}"
        )
    return lines if result["models"] else [*lines, "no registered model learnt from it"]


def _line(one: dict[str, Any]) -> str:
    """What one refresh made of it."""
    line = f"{one['refresh_id']}: {one['outcome']}"
    line += f"; {one['why']}" if one.get("why") else ""
    if one["outcome"] == "drawn":
        line += f"; weight {one['weight']:.6g}, offset {one['offset']:.6g}"
    because = one.get("not_recomputed_because")
    told = f"recomputed: {one['recomputed']}" + (f" ({because})" if because else "")
    return f"{line}; {told}"


def _job(argv: Sequence[str] | None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="tenforward explain", description=__doc__)
    parser.add_argument("id", metavar="ID", help="the instance_id")
    add_common_arguments(parser)
    parser.add_argument(
        "--refresh", metavar="REFRESH", help="this one only, not every one of its window"
    )
    args = parser.parse_args(argv)
    pipeline = pipeline_of(args, writes=False)
    about(pipeline=pipeline.name, refresh_id=args.refresh)
    result = explain(pipeline, args.warehouse, args.id, args.refresh)
    if not args.json:
        for line in in_words(result):
            log.info("%s", line)
    differing = [one["refresh_id"] for one in result["refreshes"] if one["recomputed"] == DIFFERS]
    if differing:
        log.warning("drawn again, these differ from what is stored: %s", ", ".join(differing))
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return run_command(_job, argv)


if __name__ == "__main__":
    raise SystemExit(main())
