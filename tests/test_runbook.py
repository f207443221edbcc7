"""What docs/runbook.md tells to do, done: its commands as they stand where they can be run."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import tenforward
from schemas.pipeline import load_pipeline
from spark_jobs.refresh.plan import refresh_id
from spark_jobs.select_sample import select_day
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.flights_loop import LOOPED, PIPELINE, copied
from trainer.train import train_refresh

TEXT = Path("docs/runbook.md").read_text(encoding="utf-8")


def python_lines(warehouse: Warehouse, word: str) -> list[list[str]]:
    """The `python -c` lines of the run book that hold a word."""
    found = re.findall(rf"^    (python -c .*{word}.*)$", TEXT, flags=re.MULTILINE)
    assert found, word
    return [shlex.split(line.replace("$W", warehouse.root)) for line in found]


def output(words: list[str]) -> str:
    assert words[0] == "python"
    run = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, check=True)
    return run.stdout


def test_every_command_that_it_names_exists() -> None:
    named = set(re.findall(r"^    tenforward (\S+)", TEXT, flags=re.MULTILINE))
    assert named <= set(tenforward.COMMANDS)


def test_rejects_can_be_looked_at(loop) -> None:
    [line] = python_lines(loop["warehouse"], "forward_rejects")
    assert "reason" in output(line)


@pytest.mark.slow
@pytest.mark.nightly
def test_a_new_feature_is_added_without_touching_what_is_there(loop, tmp_path: Path) -> None:
    old = copied(loop["warehouse"], tmp_path / "warehouse")
    file = tmp_path / "wider.toml"
    wider = '[features.gate]\nkind = "category"\nbuckets = 16\n'
    text = Path(PIPELINE).read_text(encoding="utf-8")
    text = text.replace("[instances.columns]", '[instances.columns]\ngate = { type = "string" }')
    file.write_text(f"{text}\n{wider}", encoding="utf-8")
    where = ["--pipeline", str(file), "--warehouse", old.root]
    assert tenforward.main(["check", *where]) == 2
    for line in python_lines(old, "add_columns"):
        output(line)
    assert tenforward.main(["check", *where]) == 0
    warehouse = Warehouse(old.root, load_pipeline(file))
    told = select_day(warehouse, LOOPED[1], force=True)
    assert told["sample_digest"] == loop["days"][1]["select"]["sample_digest"]
    assert warehouse.read("sampled").where("gate is not null").count() == told["drawn"]


def test_without_its_registry_a_warehouse_gets_a_new_first_model(loop, tmp_path: Path) -> None:
    bare = copied(loop["warehouse"], tmp_path)
    told = train_refresh(bare.pipeline, bare.root, refresh_id(bare.pipeline, LOOPED[1]))
    assert (told["version"], told["promoted"]) == ("1", True)
