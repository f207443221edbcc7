"""What a run has left, less what the clock and the number of tries decide: rows and models."""

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

from schemas.registry import champion_version, mlflow_client, registry_exists
from tests.torture.rows import rows_of

# Clocks, and names that are made of them.
CLOCKS = {"recorded_at", "rejected_at", "created_at", "counted_at", "batch_id", "training_id"}
# How many commits a table has, and how its files are called, differs with the tries.
COMMITS = {
    "input_versions",
    "sampled_version",
    "holdout_version",
    "probabilities_version",
    "files",
    "holdout_files",
}
SPENT = "backward_passes"  # a killed training's are spent as well
TAGS = ("refresh_id", "sample_digest", "parent_version", "gate", "gate_reason", "promoted")
Facts = dict[str, Any]


def facts_of(folder: Path) -> Facts:
    """Digest and count of every table's distinct rows, and every model's weights and tags.

    `twice` counts rows that stand there more than once.
    """
    root = folder / "warehouse"
    tables = sorted(log.parent for log in root.rglob("_delta_log"))
    found: Facts = {"tables": {}, "twice": {}, "models": models_of(root)}
    for table in tables:
        name = str(table.relative_to(root))
        if name != SPENT:
            digest, rows, twice = _content(table)
            found["tables"][name] = [digest, rows]
            found["twice"] |= {name: twice} if twice else {}
    found["left"] = sorted(
        str(path.relative_to(folder))
        for pattern in ("checkpoints/*", "journal/*.journal")
        for path in root.glob(pattern)
    )
    return found


def _content(table: Path) -> tuple[str, int, int]:
    """Digest and number of the distinct rows, and how many stand there once more."""
    rows = rows_of(table)
    kept = [name for name in rows.column_names if name not in CLOCKS | COMMITS]
    counts = Counter(_text(row) for row in rows.select(kept).to_pylist())
    digest = hashlib.sha256("\n".join(sorted(counts)).encode()).hexdigest()
    return digest, len(counts), counts.total() - len(counts)


def _text(row: Facts) -> str:
    """A row as text; a report card repeats what is left out."""
    if "report" in row:
        report = json.loads(row["report"])
        row = row | {"report": {k: v for k, v in report.items() if k not in CLOCKS | COMMITS}}
    return json.dumps(row, sort_keys=True, default=str)


def models_of(root: Path) -> list[Facts]:
    """The registered versions of every name, with the bytes of their weights, and the champions."""
    if not registry_exists(str(root)):
        return []
    client = mlflow_client(str(root))
    found = []
    for model in client.search_registered_models():
        champion = champion_version(client, model.name)
        versions = client.search_model_versions(f"name = '{model.name}'")
        for version in sorted(versions, key=lambda one: int(one.version)):
            bundle = Path(str(version.source).removeprefix("file://"))
            found.append(
                {
                    "model": f"{model.name} {version.version}",
                    "serves": champion is not None and champion.version == version.version,
                    "tags": {tag: version.tags.get(tag) for tag in TAGS},
                    "files": {
                        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
                        for file in sorted(bundle.glob("*.safetensors"))
                    },
                }
            )
    return found


def differences(found: Facts, wanted: Facts, twice: int) -> list[str]:
    """What differs from the undisturbed run, one line each; `twice` rows of requests that were not
    answered may stand in `forward_records` once more."""
    lines = []
    for name in sorted(found["tables"].keys() | wanted["tables"].keys()):
        one, other = found["tables"].get(name), wanted["tables"].get(name)
        if one != other:
            lines.append(f"table {name}: {one}, undisturbed {other}")
    for name, count in found["twice"].items():
        allowed = wanted["twice"].get(name, 0) + (twice if name == "forward_records" else 0)
        if count > allowed:
            lines.append(f"table {name}: {count} rows stand there twice, {allowed} may")
    for number in range(max(len(found["models"]), len(wanted["models"]))):
        one, other = (_at(facts["models"], number) for facts in (found, wanted))
        if one != other:
            lines.append(f"model: {one}, undisturbed {other}")
    if found["left"] != wanted["left"]:
        lines.append(f"left behind: {found['left']}, undisturbed {wanted['left']}")
    return lines


def _at(models: list[Facts], number: int) -> Facts | None:
    return models[number] if number < len(models) else None
