"""`tenforward validate`, and that every command asks the same rules before it does anything."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from deltalake import write_deltalake

import tenforward
from reference.plain_tables import create
from schemas.tables import refreshes
from schemas.validation.examine import examine
from schemas.validation.warehouse import CHARACTERS

FLIGHTS = "pipelines/flights.toml"
# Every command that takes a pipeline, with what it needs beside the pipeline and the warehouse.
LINES = {
    "init": [],
    "ingest": [],
    "bootstrap": ["--start", "2013-01-01", "--end", "2013-01-02"],
    "score": ["--ds", "2013-01-08"],
    "import-records": ["--ds", "2013-01-08"],
    "due": ["--ds", "2013-01-08"],
    "select": ["--ds", "2013-01-08"],
    "compare": ["--ds", "2013-01-08"],
    "estimate": ["--refresh", "2013-01-08-calibrated-12345678", "--challenger", "1"],
    "train": [],
    "register": [],
    "migrate": [],
    "rollback": [],
    "monitor": ["--ds", "2013-01-08"],
    "status": [],
    "show": ["2013-01-08-calibrated-12345678"],
    "diff": ["2013-01-08-calibrated-12345678", "2013-01-08-uniform-12345678"],
    "explain": ["20130108-9E-3667-JFK"],
    "set-aside": ["20130108-9E-3667-JFK", "--reason", "wrong", "--by", "ada"],
    "check": [],
    "maintain": [],
    "backfill": ["--start", "2013-01-01", "--end", "2013-01-02"],
    "validate": [],
    "describe": [],
}


def run(capfd, command: str, *arguments: object) -> tuple[int, dict]:
    """Exit code and JSON result of `tenforward COMMAND ...`."""
    code = tenforward.main([command, *map(str, arguments)])
    return code, json.loads(capfd.readouterr().out.splitlines()[-1])


def refused(warehouse: str, **more: bool) -> list[str]:
    """What is wrong with a warehouse of the flights."""
    asked = {"writes": True, "trains": False} | more
    return [str(fault) for fault in examine(FLIGHTS, warehouse, **asked).faults]


def owned_by(name: str, folder: Path) -> Path:
    """A warehouse of another pipeline, one table of it."""
    create(folder, refreshes(), name)
    return folder


@pytest.fixture
def two_mistakes(tmp_path) -> str:
    """A pipeline file with a fault of one section, and one of two."""
    text = Path(FLIGHTS).read_text(encoding="utf-8")
    text = text.replace("seed = 7", "seed = true", 1)
    text = text.replace("distance = { kind", "weight = { source = 'instances.distance', kind", 1)
    (tmp_path / "p.toml").write_text(text, encoding="utf-8")
    return str(tmp_path / "p.toml")


def test_a_sound_pipeline_is_valid(capfd, tmp_path) -> None:
    code, result = run(capfd, "validate", "--pipeline", FLIGHTS, "--warehouse", tmp_path / "w")
    assert code == 0
    assert (result["valid"], result["faults"], result["pipeline"]) == (True, [], "flights")
    assert not (tmp_path / "w").exists()


def test_every_fault_has_field_value_and_remedy(capfd, tmp_path, two_mistakes) -> None:
    where = ["--pipeline", two_mistakes, "--warehouse", tmp_path / "a#b"]
    code, result = run(capfd, "validate", *where)
    assert (code, result["valid"]) == (2, False)
    told = {fault["field"]: fault for fault in result["faults"]}
    assert list(told) == ["selection.seed", "features.weight", "--warehouse"]
    assert [fault["value"] for fault in told.values()] == [True, "weight", str(tmp_path / "a#b")]
    assert all(fault["remedy"] for fault in told.values())


def test_a_table_in_a_file_is_no_json_value(capfd, tmp_path) -> None:
    (tmp_path / "p.toml").write_text(
        Path(FLIGHTS).read_text(encoding="utf-8").replace("[gate]", "[gates]")
    )
    where = ["--pipeline", tmp_path / "p.toml", "--warehouse", tmp_path / "w"]
    _, result = run(capfd, "validate", *where)
    [fault] = result["faults"]
    assert (fault["field"], fault["value"], fault["remedy"]) == ("gates", None, "write 'gate'")


def test_every_command_but_those_that_make_a_pipeline_takes_one() -> None:
    assert {*tenforward.COMMANDS} - {*LINES} == {"new", "from-feast"}


@pytest.mark.parametrize("command", list(LINES))
def test_law_7_every_command_asks_first(capfd, tmp_path, two_mistakes, command) -> None:
    where = ["--pipeline", two_mistakes, "--warehouse", tmp_path / "w"]
    code, result = run(capfd, command, *LINES[command], *where)
    assert code == 2
    assert [fault["field"] for fault in result["faults"]] == ["selection.seed", "features.weight"]
    assert not (tmp_path / "w").exists()


# `describe` tells of the pipeline file alone.
@pytest.mark.parametrize("command", [name for name in LINES if name != "describe"])
def test_law_7_no_command_takes_another_pipelines_warehouse(capfd, tmp_path, command) -> None:
    warehouse = owned_by("trains", tmp_path)
    code, result = run(
        capfd, command, *LINES[command], "--pipeline", FLIGHTS, "--warehouse", warehouse
    )
    assert code == 2
    [fault] = result["faults"]
    assert "holds pipeline 'trains', not 'flights'" in fault["message"]
    assert fault["remedy"] == "give each pipeline a warehouse of its own"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["refreshes"]


@pytest.mark.parametrize(
    ("warehouse", "words"),
    [
        ("", "empty"),
        ("gs://bucket/w", "tables cannot be kept on gs://"),
        ("ftp://host/w", "tables cannot be kept on ftp://"),
        ("s3://", "names no bucket"),
        ("s3:/bucket/w", "write it as s3://bucket/prefix"),
        ("file:///w", "write the path alone, /w"),
        ("~/w", "in the place of ~"),
        ("/w/{pipeline}", "in the place of {pipeline}"),
        ("$HOME/w", "in the place of $HOME"),
        ("a\0b", "embedded null byte"),
        ("w" * 300, "File name too long"),
    ],
)
def test_a_place_that_no_library_knows_is_refused(warehouse: str, words: str) -> None:
    [told] = refused(warehouse)
    assert told.startswith("--warehouse")
    assert words in told


@pytest.mark.parametrize("character", [*CHARACTERS, "\n"])
def test_a_character_that_a_library_reads_otherwise_is_refused(tmp_path, character: str) -> None:
    [told] = refused(f"{tmp_path}/a{character}20b")
    assert repr(character) in told


@pytest.mark.parametrize("name", ["a b", "é", "日本", "a:b", "a'b", "a$b", "a&b", "a=b", "a(b)"])
def test_other_characters_are_taken(tmp_path, name: str) -> None:
    assert refused(str(tmp_path / name)) == []


def test_what_is_no_warehouse_is_refused(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letters.txt").write_text("")
    write_deltalake(str(tmp_path / "table"), refreshes().arrow_schema.empty_table())
    os.symlink(tmp_path / "loop", tmp_path / "loop")
    words = {
        "file": "is not a folder",
        "file/below": "is not a folder",
        "other": "holds letters.txt, and no table of tenforward",
        "table": "name the folder around it",
        "loop": "Symlink loop",
    }
    for name, told in words.items():
        assert told in refused(str(tmp_path / name))[0]


def test_a_folder_of_ours_or_an_empty_one_is_taken(tmp_path) -> None:
    assert refused(str(tmp_path)) == []
    for name in (".gitkeep", "mlflow.db", "README.md"):
        assert refused(str(tmp_path)) == []
        (tmp_path / name).write_text("")
    assert len(refused(str(tmp_path))) == 1
    owned_by("flights", tmp_path)  # with a table of ours, what is beside it is nobody's business
    assert refused(str(tmp_path)) == []


def test_a_folder_that_cannot_be_written_to_is_refused_by_what_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    assert "cannot be written to by this user" in refused(str(tmp_path))[0]
    assert refused(str(tmp_path), writes=False) == []


def test_it_takes_no_spark_no_torch_and_little_time(tmp_path) -> None:
    code = (
        "import sys\n"
        "for name in ('pyspark', 'py4j', 'delta', 'torch', 'petastorm', 'mlflow'):\n"
        "    sys.modules[name] = None  # importing it is an error\n"
        "import tenforward\n"
        "sys.exit(tenforward.main(sys.argv[1:]))"
    )
    line = ["validate", "--pipeline", FLIGHTS, "--warehouse", str(tmp_path)]
    before = os.times().children_user
    subprocess.run([sys.executable, "-c", code, *line], check=True, capture_output=True)
    assert os.times().children_user - before < 4  # 1.2 s of processor time
