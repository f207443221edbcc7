"""docs/tutorial.md as it stands, from an empty folder: every file written, every block run."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from reference.plain_tables import stored
from schemas.pipeline import load_pipeline
from schemas.validation.examine import examine
from tests.helpers.films import A_DAY, DAYS, WHEEL, generated, ratings_into

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "tutorial.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.M)
FILES = {
    text.split()[1]: text for language, text in BLOCKS if language != "bash" if text[:2] == "# "
}
LINES = [text for language, text in BLOCKS if language == "bash"]


def write_files(folder: Path) -> Path:
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_every_block_is_a_file_with_a_name_or_lines_of_a_shell() -> None:
    assert len(FILES) + len(LINES) == len(BLOCKS)
    assert {name for name in FILES if not (PAGE.read_text().count(name) > 1)} == set()


def test_its_pipeline_file_is_sound_and_its_scripts_are_python(tmp_path: Path) -> None:
    write_files(tmp_path)
    file, warehouse = str(tmp_path / "films.toml"), str(tmp_path / "warehouse")
    read = examine(file, warehouse, writes=True, trains=False)
    assert read.faults == []
    for name in FILES:
        if name.endswith(".py"):
            compile(FILES[name], name, "exec")


def test_a_generated_set_of_ratings_has_the_form_that_its_script_reads(tmp_path: Path) -> None:
    write_files(tmp_path)
    generated(tmp_path / WHEEL)
    command = [sys.executable, "rows.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{DAYS * A_DAY} ratings until 1997-11-07\n"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The page's blocks, run in one shell in their order, in a folder with nothing but the page's
    files; what each block printed."""
    folder = write_files(tmp_path_factory.mktemp("films"))
    ratings = ratings_into(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    foreign = ("AIRFLOW", "TENFORWARD", "MLFLOW")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    environment = kept | {
        "TENFORWARD": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PORT": str(port),
    }
    script = "".join(f"echo '--- {place}'\n{lines}" for place, lines in enumerate(LINES))
    done = subprocess.run(
        ["bash", "-e", "-c", f"trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{script}"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-6000:]}"
    told = re.split(r"^--- \d+\n", done.stdout, flags=re.M)[1:]
    log = (folder / "server.log").read_text()
    return SimpleNamespace(folder=folder, told=told, ratings=ratings, log=log, stderr=done.stderr)


def results(text: str) -> list[dict]:
    """The JSON lines of what a block printed."""
    return [json.loads(line) for line in text.splitlines() if line.startswith('{"')]


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.airflow
def test_the_page_leads_from_an_empty_folder_to_a_second_model_and_a_dag(
    ran: SimpleNamespace,
) -> None:
    assert len(ran.told) == len(LINES)
    _, first, week, second, later, own, airflow = ran.told
    assert results(first)[-1]["promoted"]
    selected, trained, status = results(second)
    assert (selected["status"], trained["promoted"]) == ("done", True), trained
    assert status["champion"] == trained["version"] == "2"
    assert trained["parent_version"] == "1"
    assert re.fullmatch(r"\{'1': \d+\}\n", week), week + ran.log
    assert re.search(r"^\{'2': \d+\}$", later, re.M), later + ran.log
    compared, judged = results(own)
    assert compared["refresh"] == selected["refresh_id"]
    losses = compared["hold-out loss"]
    assert 0.4 < losses["champion"] < losses["own"] + 0.1
    assert judged["status"] == "planned"
    assert judged["metrics"]["challenger"]["loss"] == pytest.approx(losses["own"], abs=1e-3)
    assert judged["metrics"]["champion"]["loss"] == pytest.approx(losses["champion"], abs=1e-3)
    for dag in ("select_films", "train_films", "maintain_films", "own_trainer_films"):
        assert dag in airflow, airflow
    assert '"hold-out loss"' in airflow + ran.stderr


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.airflow
def test_its_records_name_the_version_that_answered(ran: SimpleNamespace) -> None:
    pipeline = load_pipeline(ran.folder / "films.toml")
    assert pipeline.name == "films"
    days: dict[str, set[str]] = {}
    for row in stored(ran.folder / "warehouse"):
        days.setdefault(row["model_version"], set()).add(str(row["event_date"]))
        assert row["batch_id"].startswith("recorder/")
    assert max(days["1"]) == "1997-10-31"
    assert min(days["2"]) == "1997-11-01"
    assert not stored(ran.folder / "warehouse", "forward_rejects")
