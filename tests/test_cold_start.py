"""After a bootstrap the next commands are printed; they lead to a refresh that can be drawn."""

import json
import shlex
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

import tenforward
from spark_jobs.days.cold_start import Advice, advice, coverage_line

FIRST, LAST = date(2026, 1, 1), date(2026, 1, 10)
WHERE = "--pipeline p.toml --warehouse w"


def days(first: date, last: date, rows: int = 100) -> dict[date, int]:
    return {first + timedelta(days=n): rows for n in range((last - first).days + 1)}


def advised(learnt: tuple[date, date], there: dict[date, int], **more: Any) -> Advice:
    settings = {"window_days": 28, "today": date(2026, 2, 1)} | more
    return advice(WHERE, learnt, "2026-01-08-bootstrap-x", there, **settings)


def test_where_days_are_left_they_are_trained_for_and_looped_over() -> None:
    told = advised((FIRST, date(2026, 1, 8)), days(FIRST, LAST))
    assert told.commands == [
        f"tenforward train {WHERE} --refresh 2026-01-08-bootstrap-x",
        f"tenforward backfill {WHERE} --start 2026-01-09 --end 2026-01-10",
    ]
    assert "200 instances of 2 days" in told.told
    assert not told.warns


def test_a_day_that_is_not_over_is_not_looped_over() -> None:
    told = advised((FIRST, date(2026, 1, 8)), days(FIRST, LAST), today=LAST)
    assert told.commands[-1].endswith("--start 2026-01-09 --end 2026-01-09")


def test_where_all_were_learnt_from_a_shorter_bootstrap_is_the_remedy() -> None:
    told = advised((FIRST, LAST), days(FIRST, LAST))
    assert told.warns
    assert "Remedy: leave the last days to be answered" in told.told
    assert told.commands == [f"tenforward bootstrap {WHERE} --start 2026-01-01 --end 2026-01-05"]


def test_no_more_than_a_window_is_left() -> None:
    told = advised((FIRST, LAST), days(FIRST, LAST), window_days=3)
    assert told.commands[0].endswith("--end 2026-01-07")


def test_of_a_single_day_nothing_can_be_left() -> None:
    told = advised((FIRST, FIRST), days(FIRST, FIRST))
    assert told.commands == [f"tenforward train {WHERE} --refresh 2026-01-08-bootstrap-x"]
    assert "ingest 2026-01-02" in told.told


def covered(instances: int, recorded: int, bootstrapped: bool) -> dict[str, Any]:
    return {"instances": instances, "recorded": recorded, "bootstrapped": bootstrapped}


def test_a_first_refresh_says_why_it_has_few_candidates() -> None:
    line = coverage_line([covered(16_000, 0, True), covered(824, 470, False)], 84, 421)
    assert line is not None
    assert "drew 84 of 421 candidates: of the window's 16,824 instances 470 have a record" in line
    assert "16,000 are of the 1 days that the first model learnt from" in line


def test_a_full_window_says_nothing() -> None:
    assert coverage_line([covered(10, 0, True), covered(90, 90, False)], 9, 90) is None
    assert coverage_line([covered(100, 10, False)], 1, 10) is None  # coverage is the card's matter


@pytest.mark.slow
@pytest.mark.nightly
def test_the_printed_remedies_lead_from_a_bootstrap_of_everything_to_a_second_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command is the one that was printed before it."""
    monkeypatch.chdir(tmp_path)

    def run(line: str) -> dict[str, Any]:
        program, *arguments = shlex.split(line)
        if program == "python":
            subprocess.run([sys.executable, *arguments], check=True)
            return {}
        assert tenforward.main(arguments) == 0, line
        told: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
        return told

    steps = run("tenforward new orders")["next"]
    before = [step for step in steps if step.split()[1] in ("init",) or step.startswith("python")]
    for step in before:
        run(step)
    where = "--pipeline orders.toml --warehouse warehouse"
    told = run(f"tenforward bootstrap {where} --start 2026-01-01 --end 2026-01-14")
    assert "no instance of those yet" in told["note"]
    [again] = told["next"]
    told = run(again)
    assert "instances of 7 days are there to be answered" in told["note"]
    train, loop = told["next"]
    assert run(train)["promoted"]
    done = run(loop)
    assert [day["select"]["status"] for day in done["days"]] == ["done"] * 7
    assert all(day["train"]["status"] == "done" for day in done["days"])
