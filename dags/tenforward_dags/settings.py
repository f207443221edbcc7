"""Where the jobs, the pipeline files and the tables are: the one place that reads the environment.

TENFORWARD_ROOT        the project's folder (default: the parent of the DAG folder)
TENFORWARD_PIPELINES   folder of pipeline files (default: ROOT/pipelines)
TENFORWARD_WAREHOUSE   the tables, folder or URI (default: ROOT/warehouse); `{pipeline}` in it
                       becomes the pipeline's name, because a warehouse holds one pipeline
TENFORWARD_PY_FILES    zip for `spark-submit --py-files`, where Spark's Python lacks the package

Relative paths start at ROOT: a task runs in a folder of Airflow's choosing.
"""

import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")  # as schemas/pipeline.py has it


@dataclass(frozen=True)
class Deployment:
    """One pipeline, and where its jobs find what they need."""

    name: str
    pipeline_file: Path
    warehouse: str
    jobs: Path
    py_files: str | None

    @property
    def arguments(self) -> list[str]:
        """What every job of the pipeline is told."""
        return ["--pipeline", str(self.pipeline_file), "--warehouse", self.warehouse]


def deployments() -> list[Deployment]:
    """A deployment for each pipeline file, in the order of their names."""
    here = Path(__file__).resolve().parents[2]
    root = Path(os.environ.get("TENFORWARD_ROOT") or here).absolute()
    folder = root / (os.environ.get("TENFORWARD_PIPELINES") or "pipelines")
    warehouse = _located(root, os.environ.get("TENFORWARD_WAREHOUSE") or "warehouse")
    py_files = os.environ.get("TENFORWARD_PY_FILES")
    found: dict[str, Deployment] = {}
    for file in sorted(folder.glob("*.toml")):
        name = _name_of(file)
        if name in found:
            raise ValueError(
                f"{file}: name = {name!r} is also that of {found[name].pipeline_file.name}."
                " Remedy: give each pipeline a name of its own."
            )
        found[name] = Deployment(
            name=name,
            pipeline_file=file,
            warehouse=warehouse.replace("{pipeline}", name),
            jobs=root / "spark_jobs",
            py_files=_located(root, py_files) if py_files else None,
        )
    if not found:
        raise ValueError(
            f"{folder}: no pipeline file (*.toml). Remedy: set TENFORWARD_PIPELINES to the right"
            " folder."
        )
    return list(found.values())


def _located(root: Path, place: str) -> str:
    """An absolute path; a URI stays as it is."""
    return place if "://" in place else str(root / place)


def _name_of(file: Path) -> str:
    """The pipeline's name; the rest of the file is the jobs' business, and is checked by them."""
    try:
        name = tomllib.loads(file.read_text(encoding="utf-8")).get("name")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: {error}. Remedy: correct the file, or move it away.") from error
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"{file}: name = {name!r} is not a pipeline's name. Remedy: use a lower-case letter,"
            " then letters, digits or _."
        )
    return name
