"""What a command prints: JSON where it is piped or asked for, tables where a person looks on."""

import json
import os
import pty
import subprocess
import sys

import pytest

import tenforward
from schemas.terminal import apart, cell, show

RESULT = {
    "status": "done",
    "pipeline": "flights",
    "champion": None,
    "ledger": {"forward_passes": 62994, "spent_per_forward_pass": 0.1},
    "refreshes": [
        {
            "refresh_id": "a",
            "drawn": 1000,
            "sample_digest": "0123456789abcdef",
            "gates": {"7": "x"},
        },
        {"refresh_id": "b", "drawn": 7, "sample_digest": None, "gates": {}},
    ],
}
COMMAND = ["describe", "--pipeline", "pipelines/flights.toml", "--table", "labels"]


def test_single_values_and_rows_are_told_apart() -> None:
    single, lists = apart(RESULT)
    assert single == {
        "status": "done",
        "pipeline": "flights",
        "ledger.forward_passes": 62994,
        "ledger.spent_per_forward_pass": 0.1,
    }
    assert lists == {"refreshes": RESULT["refreshes"]}


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("rows", 1234567, "1,234,567"),
        ("loss", 0.123456789, "0.123457"),
        ("promoted", True, "yes"),
        ("parent_version", None, "-"),
        ("sample_digest", "0123456789abcdef", "0123456789ab"),
        ("gates", {"7": "passed", "8": "refused"}, "7 passed, 8 refused"),
        ("versions", ["7", "8"], "7, 8"),
        ("ds", "2026-02-01", "2026-02-01"),
    ],
)
def test_a_cell(name: str, value: object, text: str) -> None:
    assert cell(name, value) == text


def test_rows_are_a_table_with_their_keys_as_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    show(RESULT)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["ledger.forward_passes", "62,994"] in lines
    assert ["refresh_id", "drawn", "sample_digest", "gates"] in lines
    assert ["a", "1,000", "0123456789ab", "7", "x"] in lines


def test_a_long_table_says_what_it_leaves_out(capsys: pytest.CaptureFixture[str]) -> None:
    show({"rows": [{"number": number} for number in range(1060)]})
    assert "... and 1,010 rows more; --json has them all." in capsys.readouterr().out


def test_rows_of_many_columns_are_a_table_each(capsys: pytest.CaptureFixture[str]) -> None:
    show({"rows": [{f"column{place}": place + row for place in range(20)} for row in (0, 100)]})
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line for line in lines if line[:1] == ["rows"]] == [["rows", "1"], ["rows", "2"]]
    assert ["column19", "19"] in lines
    assert ["column19", "119"] in lines


def on_a_terminal(*options: str) -> str:
    """What a command prints where stdout is a terminal."""
    ours, theirs = pty.openpty()
    line = [sys.executable, "-m", "tenforward", *COMMAND, *options]
    with subprocess.Popen(line, stdout=theirs, stderr=subprocess.PIPE) as process:
        os.close(theirs)
        printed = b""
        try:
            while part := os.read(ours, 1 << 16):
                printed += part
        except OSError:  # the other end is closed: a terminal's end of file
            pass
        process.communicate()
    assert process.returncode == 0
    os.close(ours)
    return printed.decode()


def test_a_person_gets_tables_and_json_where_it_is_asked_for() -> None:
    printed = on_a_terminal()
    assert "known_at" in printed
    assert "{" not in printed
    told = json.loads(on_a_terminal("--json"))
    assert [column["column"] for column in told["columns"]["labels"]][:3] == [
        "instance_id",
        "event_date",
        "known_at",
    ]


def test_a_pipe_gets_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert tenforward.main(COMMAND) == 0
    assert json.loads(capsys.readouterr().out)["pipeline"] == "flights"


def test_a_reader_that_goes_is_no_failure() -> None:
    line = f"{sys.executable} -m tenforward {' '.join(COMMAND)} | true"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert tenforward.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("tenforward 0.")
