"""`tenforward show REFRESH`: one refresh and its lineage, from input versions to model versions.

tenforward show 2013-02-01-calibrated-1a2b3c4d --pipeline pipelines/flights.toml
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from console.status import refreshes_path
from schemas.command import add_common_arguments, pipeline_of, run_command
from schemas.errors import NoDataError
from schemas.ledger import in_words as ledger_in_words
from schemas.ledger import ledger_of, read_spent, within_28_days
from schemas.log import about, log
from schemas.manifests import REPORT_CARDS, Manifest, read_manifests
from schemas.pipeline import Pipeline
from schemas.places import size_of
from schemas.registry import (
    CHAMPION,
    PROMOTED,
    ROLLED_BACK,
    champion_version,
    mlflow_client,
    registry_exists,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


def show(pipeline: Pipeline, warehouse: str, refresh_id: str) -> dict[str, Any]:
    """A refresh with what it was made from and what was trained on it. NoDataError if unknown."""
    path = refreshes_path(warehouse)
    there = read_manifests(path, pipeline=pipeline.name)
    manifest = named(there, refresh_id, "REFRESH")
    spent, mine = read_spent(warehouse), [one for one in there if one.policy == manifest.policy]
    return _lineage(manifest) | {
        "ledger": ledger_of([manifest], spent),
        "ledger_28_days": ledger_of(within_28_days(mine, manifest.ds), spent),
        "report_card": _card(path, refresh_id),
        "models": trained_on(pipeline.name, warehouse, manifest),
    }


def named(there: Sequence[Manifest], refresh_id: str, argument: str) -> Manifest:
    """The manifest of a refresh that an argument names. NoDataError where there is none."""
    for manifest in there:
        if manifest.refresh_id == refresh_id:
            return manifest
    raise NoDataError(
        f"{argument} = {refresh_id}: no such refresh of this pipeline. Remedy: `tenforward status`"
        " lists them."
    )


def _lineage(manifest: Manifest) -> dict[str, Any]:
    """What the refresh was made from and what it holds."""
    inputs, decided = manifest.inputs, manifest.decided
    return {
        "refresh_id": manifest.refresh_id,
        "pipeline": manifest.pipeline,
        "ds": manifest.ds,
        "policy": manifest.policy,
        "window_start": inputs.window_start,
        "cut": inputs.cut,
        "seed": manifest.seed,
        "config_digest": manifest.config_digest,
        **asdict(manifest.counts),
        "in_sample": manifest.report.get("in_sample"),
        "biased_by_design": manifest.report.get("biased_by_design"),
        "stands_for": manifest.report.get("stands_for"),
        "sample_digest": manifest.sample_digest,
        "created_at": manifest.created_at,
        "input_versions": dict(inputs.versions),
        "sampled_version": manifest.sampled.version,
        "holdout_version": manifest.holdout.version,
        "decided": None if decided is None else asdict(decided),
    }


def _card(refreshes: str, refresh_id: str) -> str | None:
    """Where the report card is; None where there is none."""
    place = f"{refreshes.rpartition('/')[0]}/{REPORT_CARDS}/{refresh_id}.html"
    return None if size_of(place) is None else place


def trained_on(name: str, warehouse: str, manifest: Manifest) -> list[dict[str, Any]]:
    """The versions trained on a refresh, oldest first."""
    if not registry_exists(warehouse):
        return []
    client = mlflow_client(warehouse)
    serving = champion_version(client, name)
    wanted = f"name = '{name}' and tags.refresh_id = '{manifest.refresh_id}'"
    found = sorted(client.search_model_versions(wanted), key=lambda one: int(one.version))
    champion = None if serving is None else str(serving.version)
    return [_model(client, version, champion, manifest.sample_digest) for version in found]


def _model(
    client: "MlflowClient", version: "ModelVersion", champion: str | None, sample_digest: str
) -> dict[str, Any]:
    """One version: its run, its gate, its metrics, and whether this very sample trained it."""
    tags = version.tags
    run = client.get_run(version.run_id) if version.run_id else None  # a version made by hand
    return {
        "version": str(version.version),
        "run_id": version.run_id,
        "parent_version": tags.get("parent_version"),
        "gate": tags.get("gate"),
        "gate_reason": tags.get("gate_reason"),
        "promoted": PROMOTED in tags,
        "rolled_back": ROLLED_BACK in tags,
        "champion": str(version.version) == champion,
        "of_this_sample": tags.get("sample_digest") == sample_digest,
        "metrics": {} if run is None else dict(run.data.metrics),
    }


def in_words(shown: dict[str, Any]) -> list[str]:
    """The lineage as lines for a person."""
    inputs = ", ".join(f"{name} {number}" for name, number in shown["input_versions"].items())
    lines = [
        f"refresh {shown['refresh_id']}: policy {shown['policy']}, seed {shown['seed']}",
        f"read {shown['window_start']} to {shown['ds']} from versions: {inputs}",
        f"drew {shown['drawn']} of {shown['candidates']} candidates into sampled version"
        f" {shown['sampled_version']}, held out {shown['held_out']}, rejected {shown['rejected']}",
        *_elsewhere(shown),
        *_warnings(shown),
        f"ledger: {ledger_in_words(shown['ledger'])}",
        f"ledger of the 28 days to {shown['ds']}: {ledger_in_words(shown['ledger_28_days'])}",
        f"sample digest {shown['sample_digest']}",
        f"report card {shown['report_card'] or 'not written: repeat `tenforward select`'}",
    ]
    for model in shown["models"]:
        promoted = "promoted" if model["promoted"] else "not promoted"
        promoted += ", rolled back from" if model["rolled_back"] else ""
        serving = f", serves as {CHAMPION}" if model["champion"] else ""
        older = "" if model["of_this_sample"] else " (of an earlier sample of this refresh)"
        lines.append(
            f"model version {model['version']}{older}, run {model['run_id']}, parent"
            f" {model['parent_version']}: {promoted}{serving}; {model['gate_reason']}"
        )
    return lines if shown["models"] else [*lines, "no model was trained on it yet"]


def _elsewhere(shown: dict[str, Any]) -> list[str]:
    """Which tables are somebody else's, and what pins them."""
    told = []
    for name, pin in ((shown["decided"] or {}).get("elsewhere") or {}).items():
        what = f"table {pin['id']}"
        if pin["id"] is None:
            what = "without versions: its number is a digest of its files, which nobody keeps"
        told.append(f"{name} was read at {pin['place']} ({pin['format']}, {what})")
    return told


def _warnings(shown: dict[str, Any]) -> list[str]:
    """What a reader must know before the sample is taken for an estimate of all candidates."""
    many = shown["in_sample"]
    known = f"the models that answered {many} candidates may have learnt from them: no offsets"
    each = shown["stands_for"] or shown["candidates"]
    stand = (
        f"the candidates, there by chance, stand for {each:,.1f} forward passes, by their weights"
    )
    sampled = [stand] if each != shown["candidates"] else []
    return [*([known] if many else []), *sampled, *filter(None, [shown["biased_by_design"]])]


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> lineage; the words go to the log, as those of every command."""
    parser = argparse.ArgumentParser(prog="tenforward show", description=__doc__)
    parser.add_argument("refresh", metavar="REFRESH", help="a refresh id, as status lists them")
    add_common_arguments(parser)
    args = parser.parse_args(argv)
    pipeline = pipeline_of(args, writes=False)
    about(pipeline=pipeline.name, refresh_id=args.refresh)
    shown = show(pipeline, args.warehouse, args.refresh)
    if not args.json:
        for line in in_words(shown):
            log.info("%s", line)
    return shown


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    raise SystemExit(main())
