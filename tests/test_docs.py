"""The lines of docs/recorder.md, serving.md, estimate.md and feature-store.md, as they
stand, do what they say."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from datetime import date, datetime
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pytest

import tenforward
from demo.online_day import requests
from reference.plain_tables import record_tables, stored
from schemas.pipeline import Pipeline, load_pipeline
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.flights_loop import LOOPED, PIPELINE
from tests.helpers.logged_records import binary_records

ROOT = Path(__file__).parents[1]
NEWEST = date(2013, 1, 9)


def blocks(page: str, language: str) -> list[str]:
    """The page's fenced blocks of a language."""
    text = (ROOT / "docs" / page).read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_the_recorder_of_the_page_records(tmp_path, monkeypatch):
    (code,) = blocks("recorder.md", "python")
    record_tables(tmp_path / "warehouse")
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "recorder.md", "exec"), {})
    rows = stored(tmp_path / "warehouse")
    assert [row["instance_id"] for row in rows] == ["flight-1", "flight-2"]


def test_the_encoding_of_the_page_encodes(tmp_path, monkeypatch):
    _, code = blocks("serving.md", "python")
    monkeypatch.chdir(tmp_path)
    assert tenforward.main(["new", "orders"]) == 0
    names = {}
    exec(compile(code, "serving.md", "exec"), names)
    assert list(names["columns"]) == ["channel", "price", "items", "cancelled_share"]
    assert names["columns"]["price"].tolist() == [12.5, 40.0]


def test_the_estimate_of_the_page_estimates():
    (code,) = blocks("estimate.md", "python")
    records = binary_records(2000)
    label, logit = records["label"].to_numpy(), records["prediction"].to_numpy()
    losses = [np.logaddexp(0, z) - label * z for z in (logit, 1.1 * logit)]
    names = {"records": records, "loss_a": pa.array(losses[0]), "loss_b": pa.array(losses[1])}
    exec(compile(code.replace("estimate(table", "found = estimate(table"), "page", "exec"), names)
    (line,) = names["found"].to_pylist()
    assert line["low"] < losses[1].mean() < line["high"]


@pytest.mark.parametrize("block", blocks("feature-store.md", "toml"))
def test_a_section_of_the_page_is_a_section_of_a_pipeline_file(block):
    whole = tomllib.loads(Path(PIPELINE).read_text())
    for name, section in tomllib.loads(block).items():
        whole[name] = whole.get(name, {}) | section
    Pipeline.model_validate(whole)


@pytest.fixture
def here(twin, tmp_path, monkeypatch) -> Path:
    """A folder as the pages suppose: `pipelines`, and the `warehouse` of the loop."""
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines")
    shutil.copyfile(PIPELINE, tmp_path / "pipelines" / "flights.toml")  # that of the loop
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.nightly
def test_the_lines_of_the_feature_store_run_as_they_stand(here, capfd):
    lines = "".join(blocks("feature-store.md", "bash")).splitlines()
    assert len(lines) == 6
    for line in lines:
        words = shlex.split(line.replace("2013-03-24", str(LOOPED[1])))
        assert words[0] == "tenforward"
        code = tenforward.main(words[1:])
        out, err = capfd.readouterr()
        assert code == 0, f"{line}\n{out}\n{err[-3000:]}"
        assert json.loads(out)["status"] in ("done", "already done", "planned"), line


@pytest.mark.slow
def test_the_server_of_the_page_answers_and_records(here):
    code, _ = blocks("serving.md", "python")
    names = {}
    exec(compile(code, "serving.md", "exec"), names)
    warehouse = Warehouse(str(here / "warehouse"), load_pipeline("pipelines/flights.toml"))
    asked = next(requests(warehouse, NEWEST, 20))
    times = [datetime.fromisoformat(one) for one in asked["event_times"]]
    answers = names["answer"](asked["ids"], times, asked["segments"], asked["features"])
    names["champion"].close()
    names["recorder"].close()
    rows = {row["instance_id"]: row for row in stored(here / "warehouse")}
    assert [rows[one]["prediction"] for one in asked["ids"]] == answers.tolist()
    version = names["champion"].now().version
    assert {rows[one]["model_version"] for one in asked["ids"]} == {version}


@pytest.mark.slow
@pytest.mark.nightly
def test_the_example_server_of_the_page_serves_and_records(here):
    server, client = "".join(blocks("recorder.md", "bash")).splitlines()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    words = (
        [*shlex.split(server.removesuffix(" &")), "--port", str(port)],
        [*shlex.split(client), "--url", url],
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    def line(given: list[str]) -> list[str]:
        assert given[0] == ".venv/bin/python"
        return [sys.executable, *(str(NEWEST) if one == "2013-03-25" else one for one in given[1:])]

    with (here / "log").open("w") as log:
        running = subprocess.Popen(line(words[0]), cwd=here, env=environment, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while not answers(url) and running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        asked = subprocess.run(
            line(words[1]), cwd=here, env=environment, capture_output=True, text=True
        )
        assert asked.returncode == 0, asked.stderr[-3000:] + (here / "log").read_text()
    finally:
        running.terminate()
        running.wait(60)
    count = int(re.search(r"(\d+) flights", asked.stdout)[1])
    assert f"tenforward_recorder_recorded_total {count}\n" in asked.stdout
    rows = [row for row in stored(here / "warehouse") if row["event_date"] == NEWEST]
    assert len(rows) == count == len({row["instance_id"] for row in rows})
    assert all(row["batch_id"].startswith("recorder/") for row in rows)


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/metrics", timeout=1).status_code == 200
    except httpx.HTTPError:
        return False
