"""`tenforward new`: from an empty folder to a second model, on a tenth of the rows."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tenforward
from console.new import new
from schemas.errors import ConfigurationError
from schemas.validation.examine import examine


def test_what_it_writes_is_valid(tmp_path: Path) -> None:
    told = new("orders", tmp_path / "pipelines")
    file = tmp_path / "pipelines" / "orders.toml"
    read = examine(str(file), str(tmp_path / "warehouse"), writes=True, trains=True)
    assert read.faults == []
    assert read.pipeline is not None
    assert read.pipeline.name == "orders"
    assert [Path(one).name for one in told["files"]] == ["orders.toml", "orders_rows.py"]
    compile((tmp_path / "pipelines" / "orders_rows.py").read_text(), "orders_rows.py", "exec")


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "orders_rows.py").write_text("mine")
    with pytest.raises(ConfigurationError, match=r"orders_rows\.py is there already.*Remedy"):
        new("orders", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["orders_rows.py"]


def test_a_folder_that_is_a_file_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").write_text("mine")
    assert tenforward.main(["new", "orders", "--folder", str(tmp_path / "mine")]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert str(tmp_path / "mine") in error
    assert "Remedy: correct the path." in error
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize("name", ["My Orders", "1st", "a/b", "../x", ""])
def test_a_name_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"NAME = .*not a name\. Remedy"):
        new(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.nightly
def test_its_steps_lead_to_a_second_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert tenforward.main(["new", "orders"]) == 0
    steps = json.loads(capsys.readouterr().out)["next"]
    told: dict[str, dict[str, Any]] = {}
    for step in steps:
        program, *arguments = shlex.split(step)
        if program == "python":
            subprocess.run([sys.executable, *arguments], check=True)
            continue
        assert tenforward.main(arguments) == 0, step
        told[arguments[0]] = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["train"]["promoted"]
    assert [day["select"]["status"] for day in told["backfill"]["days"]] == ["done"] * 3
    ledger = told["status"]["ledger"]
    assert 0.05 < ledger["spent_per_forward_pass"] <= 0.1
    assert len(told["status"]["refreshes"]) == 4
