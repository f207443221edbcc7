"""`tenforward status`: the last refreshes, what was trained on them, and the model that serves.

tenforward status --pipeline pipelines/flights.toml
tenforward status --pipelines pipelines --warehouse '/lake/{pipeline}'
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from deltalake import DeltaTable as Snapshot

from schemas.command import add_common_arguments, pipeline_of, run_command
from schemas.errors import ConfigurationError
from schemas.ledger import beside, ledger_of, read_spent, within_28_days
from schemas.ledger import in_words as ledger_in_words
from schemas.log import log
from schemas.manifests import Manifest, read_manifests
from schemas.pipeline import Pipeline
from schemas.places import within
from schemas.registry import ROLLED_BACK, champion_version, mlflow_client, registry_exists
from schemas.several import over_pipelines


def refreshes_path(warehouse: str) -> str:
    """Where the table `refreshes` is. ConfigurationError where it is not."""
    path = within(warehouse, "refreshes")
    if not Snapshot.is_deltatable(path):
        raise ConfigurationError(
            f"table refreshes = {path}: not found. Remedy: run `tenforward init`, or correct"
            " --warehouse."
        )
    return path


def status(pipeline: Pipeline, warehouse: str, last: int = 10) -> dict[str, Any]:
    """The newest `last` refreshes with their model versions, and the champion's version."""
    manifests = read_manifests(refreshes_path(warehouse), pipeline=pipeline.name)
    champion, rolled_back, trained = _registered(pipeline.name, warehouse)
    return {
        "pipeline": pipeline.name,
        "champion": champion,
        "rolled_back": rolled_back,
        **_ledgers(pipeline, warehouse, manifests),
        "refreshes": [_line(one, trained.get(one.refresh_id, {})) for one in manifests[:last]],
    }


def _ledgers(pipeline: Pipeline, warehouse: str, manifests: list[Manifest]) -> dict[str, Any]:
    """The ledger of the pipeline's own policy: of all its refreshes, and of the last 28 days."""
    spent = read_spent(warehouse)
    mine = [one for one in manifests if one.policy == pipeline.selection.policy]
    recent = within_28_days(mine, mine[0].ds) if mine else []
    return {
        "ledger": ledger_of(mine, spent),
        "ledger_28_days": ledger_of(recent, spent),
        "beside": beside(spent),
    }


def _line(manifest: Manifest, gates: dict[str, str]) -> dict[str, Any]:
    """One refresh. gates: the gate's outcome of each version trained on it."""
    return {
        "refresh_id": manifest.refresh_id,
        "ds": manifest.ds,
        "policy": manifest.policy,
        "candidates": manifest.counts.candidates,
        "drawn": manifest.counts.drawn,
        "rejected": manifest.counts.rejected,
        "sample_digest": manifest.sample_digest,
        "versions": list(gates),
        "gates": gates,
    }


def _registered(
    name: str, warehouse: str
) -> tuple[str | None, list[str], dict[str, dict[str, str]]]:
    """The champion's version; those that were rolled back from; for each refresh, the versions
    trained on it and their gates."""
    if not registry_exists(warehouse):
        return None, [], {}
    client = mlflow_client(warehouse)
    champion = champion_version(client, name)
    rolled_back: list[str] = []
    trained: dict[str, dict[str, str]] = {}
    for version in client.search_model_versions(f"name = '{name}'"):
        gates = trained.setdefault(version.tags.get("refresh_id", ""), {})
        gates[str(version.version)] = version.tags.get("gate", "unknown")
        if ROLLED_BACK in version.tags:
            rolled_back.append(str(version.version))
    served = None if champion is None else str(champion.version)
    return served, sorted(rolled_back, key=int), trained


def in_words(result: dict[str, Any]) -> list[str]:
    """The status as lines for a person."""
    lines = [f"champion of {result['pipeline']}: version {result['champion']}"]
    if result["rolled_back"]:
        lines.append(f"rolled back from: versions {', '.join(result['rolled_back'])}")
    lines += [
        f"ledger: {ledger_in_words(result['ledger'])}",
        f"ledger of the last 28 days: {ledger_in_words(result['ledger_28_days'])}",
    ]
    apart = ", ".join(f"{name} {count}" for name, count in result["beside"].items() if count)
    if apart:
        lines.append(f"backward passes beside the ledger: {apart}")
    for row in result["refreshes"]:
        gates = ", ".join(f"{one} (gate {gate})" for one, gate in row["gates"].items())
        lines.append(
            f"{row['refresh_id']}: {row['drawn']} of {row['candidates']} drawn, versions"
            f" {gates or 'none'}"
        )
    return lines


def row_of(result: dict[str, Any]) -> dict[str, Any]:
    """The status as a line among those of other pipelines."""
    newest: dict[str, Any] = next(iter(result.get("refreshes", ())), {})
    gates = ", ".join(f"{version} ({gate})" for version, gate in newest.get("gates", {}).items())
    return {
        "champion": result.get("champion"),
        "newest refresh": newest.get("refresh_id"),
        "drawn": newest.get("drawn"),
        "trained": gates or None,
        "backward per forward": result.get("ledger_28_days", {}).get("spent_per_forward_pass"),
    }


def _one(args: argparse.Namespace) -> dict[str, Any]:
    pipeline = pipeline_of(args, writes=False)
    return status(pipeline, args.warehouse, args.last)


def _job(argv: Sequence[str] | None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="tenforward status", description=__doc__)
    add_common_arguments(parser, several=True)
    parser.add_argument("--last", type=int, default=10, help="refreshes shown (%(default)s)")
    args = parser.parse_args(argv)
    if args.pipelines is not None:
        return over_pipelines(args, sys.argv[1:] if argv is None else argv, _one, row_of)
    result = _one(args)
    if not args.json:
        for line in in_words(result):
            log.info("%s", line)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return run_command(_job, argv)


if __name__ == "__main__":
    raise SystemExit(main())
