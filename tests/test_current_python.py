"""The wheel beside current packages, as a model server has them: it records, encodes, draws and
reads alike.

Skipped where there is no later Python than the environment's, or no registry to install from.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reference.plain_tables import record_tables, stored
from tests.helpers.flights_loop import PIPELINE
from tests.helpers.trainer_tables import small_pipeline, two_refreshes

ROOT = Path(__file__).parents[1]
UV = Path(sys.executable).parent / "uv"
LATER = "3.13"
OFFLINE = ("error sending request", "Failed to fetch", "Could not connect", "network")

# The wheel is tried, not the checkout.
CLEAN = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

# Run by both interpreters; prints one JSON line.
SCRIPT = """
import hashlib, json, sys
import numpy, pyarrow
sys.path.append(".")  # logged_records
import logged_records
from datetime import UTC, datetime
from tenforward import ForwardRecorder, encode, read_refresh
from spark_jobs.selection.draw import selection_of
from spark_jobs.selection.policies import POLICIES
from schemas.errors import ConfigurationError
from schemas.pipeline import load_pipeline

sample, pipeline, warehouse = sys.argv[1:]

def drawn(task, policy):
    records = getattr(logged_records, f"{task}_records")(3000)
    try:
        return selection_of(records, policy=policy, budget=0.1, seed=7).digest
    except ConfigurationError:
        return "refused"

tasks = "binary", "multiclass", "regression"
digests = {f"{task}/{policy}": drawn(task, policy) for task in tasks for policy in POLICIES}
rows = read_refresh(sample, "first").to_pylist()
texts = {name: ["UA", None, "Zürich"] for name in ("carrier", "origin", "dest")}
raw = {name: [7, None, 12.0] for name in load_pipeline(pipeline).features} | texts
codes = {name: column.tolist() for name, column in encode(pipeline, raw).items()}
asked = datetime(2013, 1, 7, 12, tzinfo=UTC)
keys = {"origin": ["JFK", None], "carrier": ["UA", "AA"]}
with ForwardRecorder(
    pipeline, warehouse=warehouse, journal=warehouse + "/journal", model_version="3"
) as recorder:
    numbers = numpy.array([0.25, -1.5]), numpy.ones((2, 3))
    recorder.record(["a", "b"], [asked, asked], numbers[0], segments=keys, sketch=numbers[1])
print(json.dumps({
    "numpy": numpy.__version__,
    "pyarrow": pyarrow.__version__,
    "draws": digests,
    "codes": codes,
    "sample": hashlib.sha256(repr(rows).encode()).hexdigest(),
    "heavy": sorted({"torch", "pyspark", "petastorm"} & set(sys.modules)),
}))
"""


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of a later Python with the wheel and `[select]` alone."""
    folder = tmp_path_factory.mktemp("later")
    uv("build", "--wheel", "--no-build-isolation", "--out-dir", str(folder), str(sources(folder)))
    (wheel,) = folder.glob("*.whl")
    interpreter = later_interpreter()
    if interpreter is None:
        pytest.skip(f"no Python {LATER} is at hand")
    uv("venv", "--no-python-downloads", "--python", interpreter, str(folder / "venv"))
    python = folder / "venv" / "bin" / "python"
    done = uv("pip", "install", "--python", str(python), f"{wheel}[select]", check=False)
    if done.returncode and any(word in done.stderr for word in OFFLINE):
        pytest.skip(f"no registry to install from: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return python


def later_interpreter() -> str | None:
    """One that uv finds, or one of pyenv's, which need not be on the path."""
    found = uv("python", "find", "--no-python-downloads", LATER, check=False)
    if found.returncode == 0:
        return found.stdout.strip()
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    kept = sorted(root.glob(f"versions/{LATER}.*/bin/python"))
    return str(kept[-1]) if kept else None


def sources(folder: Path) -> Path:
    """What the wheel is built from, apart from the checkout, in which a build leaves folders."""
    copy = folder / "sources"
    for name in ("console", "inference", "schemas", "spark_jobs", "trainer"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("tenforward.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    return copy


def uv(*words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [str(UV), *words, "--no-config"], capture_output=True, text=True, check=False
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def told(python: Path | str, folder: Path, *arguments: str) -> dict[str, Any]:
    (folder / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [str(python), str(folder / "script.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=CLEAN | ({"PYTHONPATH": str(ROOT)} if python == sys.executable else {}),
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.slow
@pytest.mark.nightly
def test_the_wheel_draws_records_and_reads_beside_current_packages(
    later: Path, tmp_path: Path
) -> None:
    shutil.copy(ROOT / "tests" / "helpers" / "logged_records.py", tmp_path)
    sample = two_refreshes(tmp_path / "sample", small_pipeline())
    found = []
    for name, python in [("here", sys.executable), ("later", later)]:
        warehouse = record_tables(tmp_path / name)
        found.append(told(python, tmp_path, str(sample), PIPELINE, str(warehouse)))
        rows = stored(warehouse)
        assert [row["instance_id"] for row in rows] == ["a", "b"]
        assert [row["prediction"] for row in rows] == [0.25, -1.5]
    here, there = found
    assert there["numpy"] > "2"
    assert there["pyarrow"] > here["pyarrow"]
    assert there["heavy"] == []
    assert there["draws"] == here["draws"]
    assert len(set(there["draws"].values()) - {"refused"}) > 35  # each is a draw of its own
    assert there["sample"] == here["sample"]
    assert there["codes"] == here["codes"]
    assert len(there["codes"]) == 21


@pytest.mark.slow
@pytest.mark.nightly
def test_there_a_command_of_another_extra_ends_with_2_and_the_remedy(later: Path) -> None:
    run = subprocess.run(
        [str(later.parent / "tenforward"), "train", "--pipeline", PIPELINE],
        capture_output=True,
        text=True,
        check=False,
        env=CLEAN,
    )
    assert run.returncode == 2, run.stderr
    assert "Remedy: pip install 'tenforward[trainer]'" in run.stdout
