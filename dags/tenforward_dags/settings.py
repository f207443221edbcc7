"""Where the jobs, the pipeline files and the tables are: the one place that reads the environment.

TENFORWARD_ROOT        the project's folder (default: the parent of the DAG folder)
TENFORWARD_PIPELINES   folder of pipeline files (default: ROOT/pipelines)
TENFORWARD_WAREHOUSE   the tables, folder or URI (default: ROOT/warehouse); `{pipeline}` in it
                       becomes the pipeline's name, because a warehouse holds one pipeline
TENFORWARD_PY_FILES    zip for `spark-submit --py-files`, where Spark's Python lacks the package
TENFORWARD_ARCHIVES    environment for `spark-submit --archives`, such as dist/env.tar.gz#env
TENFORWARD_SPARK_PROPERTIES  file for `spark-submit --properties-file`
TENFORWARD_RUN_ON      where `tenforward train` and `due` run: bash (the worker), kubernetes or ssh
TENFORWARD_COMMAND     their program there (default: tenforward)
TENFORWARD_POD_TEMPLATE  the pod's file, for kubernetes: image, volumes, secrets, GPUs
TENFORWARD_SPARK_POOL  Airflow's pool of the Spark jobs (default: default_pool);
TENFORWARD_GPU_POOL    that of the trainings (default: gpu)
TENFORWARD_MLFLOW_URL  address of MLflow's pages, for links; TENFORWARD_CARDS_URL of report cards

Relative paths start at ROOT: a task runs in a folder of Airflow's choosing. What Airflow would take
for a template of Jinja is refused, and so is a password in a URI: Airflow shows both.
"""

import os
import re
import tomllib
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

RUN_ON = ("bash", "kubernetes", "ssh")
# As schemas/sections/ has them: section.py, schedule.py, records.py.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_JINJA = re.compile(r"\{[{%#]")
_PASSWORD = re.compile(r"://[^/?#]*@")
_CONDITIONS = ("days", "new_records", "drift", "max_loss", "max_calibration_gap")
SOURCES = ("score", "online", "import")
_DAILY = re.compile(r"[0-5]?[0-9] ([01]?[0-9]|2[0-3]) \* \* \*")


@dataclass(frozen=True)
class Deployment:
    """One pipeline, and where its jobs find what they need."""

    name: str
    pipeline_file: Path
    warehouse: str
    jobs: Path
    py_files: str | None
    archives: str | None
    spark_properties: str | None
    run_on: str
    command: str
    pod_template: str | None
    spark_pool: str
    gpu_pool: str
    mlflow_url: str
    cards_url: str
    cron: str
    end: datetime | None
    one_session: bool
    conditional: bool
    monitored: bool
    source: str

    @property
    def arguments(self) -> list[str]:
        """What every job of the pipeline is told."""
        return ["--pipeline", str(self.pipeline_file), "--warehouse", self.warehouse]


def deployments() -> list[Deployment]:
    """A deployment for each pipeline file, in the order of their names.

    Raises ValueError where one of the files cannot be used; `sound` has the others.
    """
    found, faults = sound()
    if faults:
        raise ValueError("\n".join(faults))
    return found


def sound() -> tuple[list[Deployment], list[str]]:
    """A deployment for each pipeline file that can be used, and what is wrong with the others.

    Of several files with one name the one that is called so goes on, and none where none is: the
    copy of a file must not take the place of the file. Raises ValueError for the environment.
    """
    for name, value in os.environ.items():
        if name.startswith("TENFORWARD_") and (fault := _unfit(name, value)):
            raise ValueError(fault)
    here = Path(__file__).resolve().parents[2]
    root = Path(os.environ.get("TENFORWARD_ROOT") or here).absolute()
    if fault := _unfit("TENFORWARD_ROOT", str(root)):
        raise ValueError(fault)
    folder = root / (os.environ.get("TENFORWARD_PIPELINES") or "pipelines")
    warehouse = _located(root, os.environ.get("TENFORWARD_WAREHOUSE") or "warehouse")
    template = _file(root, "TENFORWARD_POD_TEMPLATE")
    run_on = _run_on(template)
    cards = os.environ.get("TENFORWARD_CARDS_URL", "")
    read, faults = _read(folder)
    found = [
        Deployment(
            name=name,
            pipeline_file=file,
            warehouse=warehouse.replace("{pipeline}", name),
            jobs=root / "spark_jobs",
            py_files=_file(root, "TENFORWARD_PY_FILES"),
            archives=_file(root, "TENFORWARD_ARCHIVES"),
            spark_properties=_file(root, "TENFORWARD_SPARK_PROPERTIES"),
            run_on=run_on,
            command=os.environ.get("TENFORWARD_COMMAND") or "tenforward",
            pod_template=template,
            spark_pool=os.environ.get("TENFORWARD_SPARK_POOL") or "default_pool",
            gpu_pool=os.environ.get("TENFORWARD_GPU_POOL") or "gpu",
            mlflow_url=os.environ.get("TENFORWARD_MLFLOW_URL", ""),
            cards_url=cards.replace("{pipeline}", name),
            **schedule,
        )
        for file, (name, schedule) in read.items()
    ]
    return found, faults


def _read(folder: Path) -> tuple[dict[Path, tuple[str, dict[str, Any]]], list[str]]:
    """Name and schedule of each pipeline file that can be used, with where its records come from
    and whether it has `[monitor]`, and what is wrong with others."""
    read: dict[Path, tuple[str, dict[str, Any]]] = {}
    faults: list[str] = []
    for file in sorted(folder.glob("*.toml")):
        if fault := _unfit("pipeline file", str(file)):
            faults.append(fault)
            continue
        try:
            content = _content(file)
            settings = _schedule(file, content.get("schedule", {})) | {
                "source": _source(file, content.get("records")),
                "monitored": "monitor" in content,
            }
            read[file] = _name_of(file, content), settings
        except ValueError as error:
            faults.append(str(error))
    if not read and not faults:
        faults.append(
            f"{folder}: no pipeline file (*.toml). Remedy: set TENFORWARD_PIPELINES to the right"
            " folder."
        )
    for name in sorted({name for name, _ in read.values()}):
        files = [file for file, (other, _) in read.items() if other == name]
        kept = next((file for file in files if file.stem == name), None)
        for file in files if len(files) > 1 else ():
            if file != kept:
                others = ", ".join(other.name for other in files if other != file)
                faults.append(
                    f"{file}: name = {name!r} is also that of {others}. Remedy: give each pipeline"
                    " a name of its own."
                )
                del read[file]
    return read, faults


def _unfit(name: str, value: str) -> str | None:
    """What is wrong with a value that comes to stand in a task; it is not told where it may hold a
    password."""
    if _PASSWORD.search(value):
        return (
            f"{name}: holds a user or a password, which Airflow would show. Remedy: leave it out;"
            " give the tasks credentials by their environment (AWS_ACCESS_KEY_ID, ...)."
        )
    if _JINJA.search(value):
        return (
            f"{name} = {value!r}: Airflow would render it as a template. Remedy: choose a name"
            " without {{, {% and {#."
        )
    return None


def _run_on(template: str | None) -> str:
    """Where the commands run; ValueError for a place that is not known or not described."""
    place = os.environ.get("TENFORWARD_RUN_ON") or "bash"
    if place not in RUN_ON:
        raise ValueError(f"TENFORWARD_RUN_ON = {place!r}. Remedy: use one of {', '.join(RUN_ON)}.")
    if place == "kubernetes" and not template:
        raise ValueError(
            "TENFORWARD_POD_TEMPLATE is not set. Remedy: name the pod's file, with the image that"
            " has tenforward, or set TENFORWARD_RUN_ON=bash."
        )
    return place


def _located(root: Path, place: str) -> str:
    """An absolute path; a URI stays as it is."""
    return place if "://" in place else str(root / place)


def _file(root: Path, variable: str) -> str | None:
    """The place that a variable names, None where it is not set."""
    given = os.environ.get(variable)
    return _located(root, given) if given else None


def _content(file: Path) -> dict[str, Any]:
    """The file, of which name and schedule are read here; the rest is for the jobs to check."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:  # TOML's and UTF-8's are ValueErrors
        raise ValueError(f"{file}: {error}. Remedy: correct the file, or move it away.") from error


def _name_of(file: Path, content: dict[str, Any]) -> str:
    name = content.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"{file}: name = {name!r} is not a pipeline's name. Remedy: use a lower-case letter,"
            " then letters, digits or _."
        )
    return name


def _schedule(file: Path, section: Any) -> dict[str, Any]:
    """What the DAG needs of `[schedule]`, as schemas/sections/schedule.py describes it."""
    if not isinstance(section, dict):
        raise ValueError(f"{file}: schedule = {section!r}. Remedy: write it as [schedule].")
    cron, end = section.get("cron", "0 0 * * *"), section.get("end")
    if not isinstance(cron, str) or not _DAILY.fullmatch(cron):
        raise ValueError(
            f"{file}: schedule.cron = {cron!r} is not a time of day. Remedy: write"
            ' "MINUTE HOUR * * *" (UTC).'
        )
    if end is not None and type(end) is not date:
        raise ValueError(f"{file}: schedule.end = {end!r}. Remedy: write a day, 2026-12-31.")
    one_session = section.get("one_session", False)
    if not isinstance(one_session, bool):
        raise ValueError(
            f"{file}: schedule.one_session = {one_session!r}. Remedy: write true or false."
        )
    return {
        "cron": cron,
        "end": None if end is None else datetime(end.year, end.month, end.day, 23, 59, tzinfo=UTC),
        "conditional": any(name in section for name in _CONDITIONS),
        "one_session": one_session,
    }


def _source(file: Path, section: Any) -> str:
    """Where the records of a day come from, as schemas/sections/records.py describes it."""
    if section is None:
        return "score"
    source = section.get("source", "import") if isinstance(section, dict) else None
    if source not in SOURCES:
        raise ValueError(
            f"{file}: records.source = {source!r}. Remedy: use one of {', '.join(SOURCES)}."
        )
    return str(source)
