"""`tenforward from-feast REPO`: a pipeline file from a Feast repository.

tenforward from-feast feature_repo
tenforward from-feast registry.json --name trips

REPO is the folder of the repository, whose Python files are *executed*, as `feast apply` executes
them, in a process of its own; or what `feast registry-dump` printed, which needs no Feast here.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from console.feast_toml import YOURS, pipeline_text
from schemas.command import run_command
from schemas.errors import ConfigurationError
from schemas.log import about, log
from schemas.pipeline import Pipeline, told
from schemas.sections.fault import Wrong
from schemas.sections.section import identifier
from schemas.terminal import JSON
from schemas.validation.reading import read_file

# What the repository's own files print is not the registry: they are given stderr.
_DUMP = """
import os, sys
out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
sys.path.insert(0, os.getcwd())
from pathlib import Path
from feast.repo_operations import parse_repo
from google.protobuf.json_format import MessageToJson
out.write(MessageToJson(parse_repo(Path.cwd()).to_registry_proto()))
"""


def registry_of(repo: Path) -> dict[str, Any]:
    """The registry of a repository, or of a file that `feast registry-dump` printed.

    Raises ConfigurationError where it is neither, or where Feast is not installed.
    """
    if not repo.is_dir():
        return _read(repo)
    if find_spec("feast") is None:
        raise ConfigurationError(
            "package feast is not installed. Remedy: pip install 'tenforward[feast]', in an"
            " environment of its own, or give the file that `feast registry-dump` prints as REPO."
        )
    done = subprocess.run(
        [sys.executable, "-c", _DUMP], cwd=repo, capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise ConfigurationError(
            f"REPO = {repo}: Feast cannot load it ({last}). Remedy: give the folder in which"
            " `feast plan` works."
        )
    return {"project": _project(repo)} | json.loads(done.stdout)


def _project(repo: Path) -> str | None:
    """The project that `feature_store.yaml` names, if any."""
    file = repo / "feature_store.yaml"
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    found = re.search(r"^project:\s*[\"']?([\w.-]+)", text, re.MULTILINE)
    return found and found[1]


def _read(file: Path) -> dict[str, Any]:
    try:
        registry = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"REPO = {file}: {error}. Remedy: give a Feast repository's folder, or the JSON that"
            " `feast registry-dump` prints."
        ) from error
    if not isinstance(registry, dict) or not registry.get("featureViews"):
        raise ConfigurationError(
            f"REPO = {file}: no featureViews in it. Remedy: give the JSON that"
            " `feast registry-dump` prints."
        )
    return registry


def from_feast(repo: Path, name: str | None, folder: Path) -> dict[str, Any]:
    """Write the pipeline file; its place, what was left out or changed, and what `validate` says.

    Raises ConfigurationError for what `registry_of` refuses, for a name that is none, and where the
    file is there.
    """
    registry = registry_of(repo)
    called = name or str(registry.get("project") or repo.resolve().stem).lower()
    try:
        identifier(called)
    except Wrong as error:
        wrong = "; ".join(str(fault._replace(field="--name")) for fault in error.faults)
        raise ConfigurationError(wrong) from error
    about(pipeline=called)
    file = folder / f"{called}.toml"
    text, notes = pipeline_text(registry, called, f"the Feast repository {repo.name}")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with file.open("x", encoding="utf-8") as target:
            target.write(text)
    except FileExistsError as error:
        raise ConfigurationError(
            f"{file}: is there already. Remedy: give another --name or --folder."
        ) from error
    faults = read_file(file, Pipeline).faults
    for fault in told(str(file), faults):
        log.error("%s", fault)
    return {
        "status": "written",
        "exit_code": ConfigurationError.exit_code if faults else 0,
        "pipeline": called,
        "file": str(file),
        "left_out": [note._asdict() for note in notes.left_out],
        "changed": [note._asdict() for note in notes.changed],
        "faults": [fault.as_dict() for fault in faults],
        "yours": text.count(YOURS),
    }


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> file."""
    line = argparse.ArgumentParser(
        prog="tenforward from-feast",
        description="A pipeline file from a Feast repository. The repository's Python is executed.",
    )
    line.add_argument("repo", metavar="REPO", type=Path, help="its folder, or a registry dump")
    line.add_argument(
        "--name", help="of the pipeline (default: Feast's project, else the folder's)"
    )
    line.add_argument("--folder", type=Path, default=Path(), help="where the file goes (here)")
    line.add_argument(JSON, action="store_true", help="JSON on a terminal too")
    args = line.parse_args(argv)
    result = from_feast(args.repo, args.name, args.folder)
    if not args.json:
        for kind in ("left_out", "changed"):
            for note in result[kind]:
                log.info("%s: %s: %s", kind.replace("_", " "), note["what"], note["why"])
        log.info("next: %d lines of %s marked %s", result["yours"], result["file"], YOURS)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    raise SystemExit(main())
