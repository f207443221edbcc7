"""`tenforward show REFRESH`: one refresh and its lineage, from input versions to model versions.

tenforward show 2013-02-01-calibrated-1a2b3c4d --pipeline pipelines/flights.toml
"""

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from console.status import refreshes_path
from schemas.command import add_common_arguments, log, run_command
from schemas.errors import NoDataError
from schemas.manifests import REPORT_CARDS, read_manifests
from schemas.pipeline import Pipeline, load_pipeline
from schemas.places import size_of
from schemas.registry import CHAMPION, champion_version, mlflow_client, registry_exists

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

_PLAIN = (
    "refresh_id",
    "pipeline",
    "ds",
    "policy",
    "window_start",
    "cut",
    "seed",
    "config_digest",
    "candidates",
    "drawn",
    "held_out",
    "rejected",
    "sample_digest",
    "created_at",
)


def show(pipeline: Pipeline, warehouse: str, refresh_id: str) -> dict[str, Any]:
    """A refresh with what it was made from and what was trained on it. NoDataError if unknown."""
    path = refreshes_path(warehouse)
    rows = read_manifests(path, pipeline=pipeline.name, refresh_id=refresh_id)
    if not rows:
        raise NoDataError(
            f"REFRESH = {refresh_id}: no such refresh of pipeline {pipeline.name}."
            " Remedy: `tenforward status` lists them."
        )
    row = rows[0]
    return {name: row[name] for name in _PLAIN} | {
        "input_versions": json.loads(row["input_versions"]),
        "sampled_version": row["sampled_version"],
        "holdout_version": row["holdout_version"],
        "report_card": _card(path, refresh_id),
        "models": _models(pipeline.name, warehouse, row),
    }


def _card(refreshes: str, refresh_id: str) -> str | None:
    """Where the report card is; None where there is none."""
    place = f"{refreshes.rpartition('/')[0]}/{REPORT_CARDS}/{refresh_id}.html"
    return None if size_of(place) is None else place


def _models(name: str, warehouse: str, row: dict[str, Any]) -> list[dict[str, Any]]:
    """The versions trained on a refresh, oldest first."""
    if not registry_exists(warehouse):
        return []
    client = mlflow_client(warehouse)
    serving = champion_version(client, name)
    wanted = f"name = '{name}' and tags.refresh_id = '{row['refresh_id']}'"
    found = sorted(client.search_model_versions(wanted), key=lambda one: int(one.version))
    champion = None if serving is None else str(serving.version)
    return [_model(client, version, champion, row["sample_digest"]) for version in found]


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
        "promoted": "promoted" in tags,
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
        f"sample digest {shown['sample_digest']}",
        f"report card {shown['report_card'] or 'not written: repeat `tenforward select`'}",
    ]
    for model in shown["models"]:
        promoted = "promoted" if model["promoted"] else "not promoted"
        serving = f", serves as {CHAMPION}" if model["champion"] else ""
        older = "" if model["of_this_sample"] else " (of an earlier sample of this refresh)"
        lines.append(
            f"model version {model['version']}{older}, run {model['run_id']}, parent"
            f" {model['parent_version']}: {promoted}{serving}; {model['gate_reason']}"
        )
    return lines if shown["models"] else [*lines, "no model was trained on it yet"]


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> lineage; the words go to the log, as those of every command."""
    parser = argparse.ArgumentParser(prog="tenforward show", description=__doc__)
    parser.add_argument("refresh", metavar="REFRESH", help="a refresh id, as status lists them")
    add_common_arguments(parser)
    parser.add_argument("--json", action="store_true", help="no words, the JSON alone")
    args = parser.parse_args(argv)
    shown = show(load_pipeline(args.pipeline), args.warehouse, args.refresh)
    if not args.json:
        for line in in_words(shown):
            log.info("%s", line)
    return shown


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    raise SystemExit(main())
