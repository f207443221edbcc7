"""The README's lines, and spark-submit: the sample of the backfill. (DAGs: test_scheduler.py.)"""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.flights_loop import LOOPED, PIPELINE, versions

ROOT = Path(__file__).parents[1]
SHIPPED = "pipelines/flights.toml"
ALONE = {"TENFORWARD_PIPELINES": str(Path(PIPELINE).parent)}
BIN = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def readme_lines() -> list[str]:
    """The lines of the README's bash blocks, on the days and the pipeline file of the fixture."""
    text = (ROOT / "README.md").read_text()
    lines = "\n".join(re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)).splitlines()
    here = {"2013-03-25": str(LOOPED[0]), "2013-03-31": str(LOOPED[1]), SHIPPED: PIPELINE}
    for shown, own in here.items():
        lines = [line.replace(shown, own) for line in lines]
    return [line for line in lines if line]


def run(line: str, warehouse: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | ALONE | {"TENFORWARD_WAREHOUSE": warehouse, "PATH": BIN}
    words = shlex.split(line.replace("--warehouse warehouse", f"--warehouse {warehouse}"))
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_the_lines_of_the_readme_run_as_they_stand(loop):
    before = versions(loop["warehouse"])
    lines = readme_lines()
    assert len(lines) == 7
    for line in lines:
        done = run(line, loop["warehouse"].root)
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    assert versions(loop["warehouse"]) == before


@pytest.mark.slow
def test_law_1_spark_submit_selects_the_same_sample_twice(loop, twin):
    script = "spark-submit --py-files dist/tenforward.zip spark_jobs/select_sample.py"
    line = f"{script} --pipeline {PIPELINE} --ds {LOOPED[1]} --force"
    assert run("make zip", twin.root).returncode == 0
    done = run(line, twin.root)
    assert done.returncode == 0, done.stderr[-4000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["status"] == "done"
    assert result["sample_digest"] == loop["days"][1]["select"]["sample_digest"]
