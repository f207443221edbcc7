"""`tenforward diff A B`: what changed from one refresh to another.

tenforward diff 2013-02-01-calibrated-1a2b3c4d 2013-02-01-uniform-5e6f7a8b \
    --pipeline pipelines/flights.toml
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from console.changed_rows import candidates_of, changed_rows, totals
from console.show import named, trained_on
from console.status import refreshes_path
from schemas.command import add_common_arguments, pipeline_of, run_command
from schemas.log import about, log
from schemas.manifests import Manifest, read_manifests
from schemas.pipeline import Pipeline

Change = dict[str, Any]  # what, a, b


def diff(pipeline: Pipeline, warehouse: str, a: str, b: str) -> dict[str, Any]:
    """What changed from refresh `a` to refresh `b`, as JSON holds it: only what differs of inputs
    and settings; rows, totals and segments with both values; the models trained on each.

    Reads seven columns of the candidates of both. NoDataError for a refresh that is not there.
    """
    there = read_manifests(refreshes_path(warehouse), pipeline=pipeline.name)
    one, other = named(there, a, "A"), named(there, b, "B")
    rows, others = candidates_of(one, warehouse), candidates_of(other, warehouse)
    expired = [m.refresh_id for m, r in ((one, rows), (other, others)) if r is None]
    compared: dict[str, Any] = {"expired": expired}
    if rows is not None and others is not None:
        compared = changed_rows(rows, others)
    sums, others_sums = totals(one, rows), totals(other, others)
    return {
        "pipeline": pipeline.name,
        "a": a,
        "b": b,
        "inputs": _changes(_inputs(one), _inputs(other), "input"),
        "settings": _changes(_settings(one), _settings(other), "setting"),
        **compared,
        "totals": [
            {"total": name, "a": value, "b": others_sums[name]} for name, value in sums.items()
        ],
        "segments": _segments(one, other),
        "models": [
            {"refresh_id": manifest.refresh_id} | model
            for manifest in (one, other)
            for model in trained_on(pipeline.name, warehouse, manifest)
        ],
    }


def _inputs(manifest: Manifest) -> dict[str, Any]:
    """What a refresh read: its window, its cut, and the version of each table."""
    inputs = manifest.inputs
    versions = {f"versions.{name}": version for name, version in inputs.versions.items()}
    return {"window_start": inputs.window_start, "ds": manifest.ds, "cut": inputs.cut, **versions}


def _settings(manifest: Manifest) -> dict[str, Any]:
    """What decided a draw beside the tables: configuration, seed, and what was looked up."""
    decided = {} if manifest.decided is None else asdict(manifest.decided)
    # What the policy's name came to: its score, design, weighting and floor.
    policy = {k: v for k, v in manifest.report.get("policy", {}).items() if k != "name"}
    config = json.loads(manifest.config)
    return dict(_flat({"seed": manifest.seed, **config, "policy": policy, "decided": decided}))


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every value by its dotted name; of a list of named sections by these names."""
    sections = isinstance(value, list) and all(isinstance(v, dict) for v in value)
    if sections and value and all("name" in v for v in value):
        value = {one["name"]: one for one in value}
    if isinstance(value, Mapping) and (value or not name):
        for key, below in value.items():
            yield from _flat(below, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _changes(a: Mapping[str, Any], b: Mapping[str, Any], what: str) -> list[Change]:
    """What differs, by name; None where one of them has no such thing."""
    names = dict.fromkeys((*a, *b))
    return [
        {what: name, "a": a.get(name), "b": b.get(name)}
        for name in names
        if a.get(name) != b.get(name)
    ]


def _segments(a: Manifest, b: Manifest) -> list[Change]:
    """The share of each level of a segment among the candidates and among the drawn rows of
    both."""

    def lines(manifest: Manifest) -> dict[tuple[str, str], Mapping[str, Any]]:
        found = manifest.report.get("segments", [])
        return {(line["segment"], line["level"]): line for line in found}

    one, other = lines(a), lines(b)
    nothing: Mapping[str, Any] = {}
    return [
        {
            "segment": segment,
            "level": level,
            **{
                f"{share}_{side}": found.get((segment, level), nothing).get(share, 0.0)
                for share in ("share", "share_drawn")
                for side, found in (("a", one), ("b", other))
            },
        }
        for segment, level in dict.fromkeys((*one, *other))
    ]


def in_words(result: dict[str, Any]) -> list[str]:
    """The result as lines for a person."""
    lines = [
        f"{what[:-1]} {one[what[:-1]]}: {one['a']} -> {one['b']}"
        for what in ("inputs", "settings")
        for one in result[what]
    ]
    lines = lines or ["inputs and settings are the same"]
    if result.get("expired"):
        return [*lines, f"no rows any more of {', '.join(result['expired'])}"]
    rows = result["rows"]
    return [
        *lines,
        f"candidates: {rows['candidates_both']} of both, {rows['candidates_only_a']} only of A,"
        f" {rows['candidates_only_b']} only of B",
        f"drawn: {rows['drawn_both']} by both, {rows['drawn_only_a']} only by A,"
        f" {rows['drawn_only_b']} only by B",
        f"of the candidates of both {rows['probability_moved']} have another probability (by"
        f" {rows['mean_move']:.4g} on average), {rows['other_record']} another record,"
        f" {rows['other_label']} another label",
    ]


def _job(argv: Sequence[str] | None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="tenforward diff", description=__doc__)
    parser.add_argument("a", metavar="A", help="a refresh id, as status lists them")
    parser.add_argument("b", metavar="B", help="another")
    add_common_arguments(parser)
    args = parser.parse_args(argv)
    pipeline = pipeline_of(args, writes=False)
    about(pipeline=pipeline.name)
    result = diff(pipeline, args.warehouse, args.a, args.b)
    if not args.json:
        for line in in_words(result):
            log.info("%s", line)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return run_command(_job, argv)


if __name__ == "__main__":
    raise SystemExit(main())
