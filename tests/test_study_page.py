"""The study's tables, verdict, plots and page, and that they are what the results say."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.study import report
from benchmarks.study.comparison import Comparison, compare
from benchmarks.study.goal import goal, goal_words
from benchmarks.study.holm import adjusted
from benchmarks.study.parts import PARTS, STEPPED
from benchmarks.study.plots import apart
from benchmarks.study.readouts import read_outs_of
from benchmarks.study.results import Results, read_results
from benchmarks.study.tables import losses as loss_table
from benchmarks.study.tables import number
from schemas.errors import ConfigurationError
from tests.helpers import study_results as made_up


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Results and tuning of four small data sets, two amounts; fashion has no gap."""
    return made_up.filled(tmp_path)


def with_lines(folder: Path, found: list[dict[str, object]]) -> Results:
    made_up.write(folder / "results.csv", made_up.RESULTS, found)
    return read_results(folder / "results.csv")


def compared(results: Results, part: str = "confirmation", amount: float = 0.1) -> Comparison:
    found = compare(results, part, amount)
    assert found is not None
    return found


# --- tables ---


def test_the_table_says_who_beats_uniform_and_by_how_much(folder: Path) -> None:
    one = compared(read_results(folder / "results.csv"))
    assert one.data == ("flights-autumn", "fashion", "linear")
    assert one.arms == ("uniform", "calibrated", "obftf", "max-loss", "all", "frozen")
    assert one.tests == 15
    assert one.cells["calibrated", "linear"].better
    assert one.cells["max-loss", "linear"].worse
    assert one.cells["calibrated", "fashion"].share is None
    table = loss_table(one)
    row = next(line for line in table.splitlines() if line.startswith("| calibrated |"))
    _, _, _, fashion, linear, together, _ = row.split("|")
    assert fashion.endswith("<br>no gap ")
    assert linear.startswith(" **-")
    assert "%" in together
    assert "over all 15 differences of this table" in table


def test_the_correction_is_over_every_cell_of_the_table(folder: Path) -> None:
    one = compared(read_results(folder / "results.csv"))
    tested = [cell for (arm, _), cell in one.cells.items() if arm != "uniform"]
    expected = adjusted(np.array([cell.p for cell in tested]))
    assert [cell.adjusted for cell in tested] == pytest.approx(list(expected))


def test_the_other_read_outs(folder: Path) -> None:
    runs = read_results(folder / "results.csv").runs
    found = {one.arm: one for one in read_outs_of(runs["flights-autumn", 0.1])}
    assert found["calibrated"].calibration == pytest.approx(0.96)
    auc, worst = found["calibrated"].auc, found["calibrated"].worst_segment
    assert auc is not None
    assert worst is not None
    assert auc.low > 0 > worst.high
    assert found["all"].backward_passes == 9 * 1000
    assert found["uniform"].record_bytes == 0
    assert found["uniform"].select_seconds == pytest.approx(9 * 0.25)
    other = {one.arm: one for one in read_outs_of(runs["linear", 0.1])}
    assert (other["obftf"].auc, other["obftf"].calibration) == (None, None)


@pytest.mark.parametrize(
    ("value", "text"), [(-45.44, "-45.4"), (0.04, "0.0"), (-0.01, "0.0"), (1234.5, "+1,234")]
)
def test_differences_have_a_sign_and_a_figure_behind_the_point(value: float, text: str) -> None:
    assert number(value) == text


# --- the goal ---


def test_the_goal_is_judged_by_the_lower_bound_on_all_data_of_confirmation(folder: Path) -> None:
    gaps = dict.fromkeys(PARTS["confirmation"], 0.02)
    reached = with_lines(folder, made_up.lines(gaps, arms={"uniform": 0.0, "calibrated": 0.95}))
    judged = goal([compared(reached)], "confirmation")
    assert judged.reached
    assert goal_words(judged).startswith("**The goal is reached.**")
    short = with_lines(folder, made_up.lines(gaps, arms={"uniform": 0.0, "calibrated": 0.82}))
    judged = goal([compared(short)], "confirmation")
    assert judged.pooled is not None
    assert judged.pooled.lower < 0.8 < judged.pooled.interval.value
    assert not judged.reached


def test_the_goal_is_not_reached_on_some_of_the_data(folder: Path) -> None:
    gaps = {"linear": 0.02, "fashion": 0.02}
    found = with_lines(folder, made_up.lines(gaps, arms={"uniform": 0.0, "calibrated": 0.95}))
    judged = goal([compared(found)], "confirmation")
    assert not judged.reached
    assert "no whole results on flights-autumn, flights-3m, linear-outliers" in goal_words(judged)
    assert not goal([], "confirmation").reached


def test_the_goal_is_not_reached_where_the_default_is_worse_than_uniform(folder: Path) -> None:
    gaps = dict.fromkeys(PARTS["confirmation"], 0.02) | {"linear": -0.02}
    found = with_lines(folder, made_up.lines(gaps, arms={"uniform": 0.0, "calibrated": 0.97}))
    judged = goal([compared(found, amount=0.05), compared(found)], "confirmation")
    assert judged.worse == ("linear at 0.05", "linear at 0.1")
    assert not judged.reached
    assert "worse than uniform on linear at 0.05, linear at 0.1" in goal_words(judged)


def test_the_second_confirmation_judges_the_changed_default_alone(folder: Path) -> None:
    gaps = dict.fromkeys((*PARTS["confirmation"], *PARTS["second"]), 0.02)
    arms = {"uniform": 0.0, "calibrated": 0.4, STEPPED: 0.95}
    found = with_lines(folder, made_up.lines(gaps, arms=arms))
    both = [compared(found), compared(found, "second")]
    assert not goal(both, "confirmation").reached
    assert goal(both, "second").reached
    told = goal_words(goal(both, "second"))
    assert f"`{STEPPED}` closes at least 80 %" in told
    assert "on the data of the second confirmation together" in told
    assert goal(both[:1], "second").absent == PARTS["second"]


# --- the page ---

TABLES = (
    *("goal", "development 0.1", "confirmation 0.1", "read-outs linear"),
    *("read-outs flights-autumn", "tuning confirmation"),
)


def page_in(folder: Path, names: tuple[str, ...] = TABLES) -> Path:
    page = folder / "study.md"
    blocks = [f"## {name}\n\n<!-- table: {name} -->\n<!-- end -->\n" for name in names]
    page.write_text("# Study\n\nThe protocol.\n\n" + "\n".join(blocks) + "\nThe limits.\n")
    return page


def ran(folder: Path, page: Path, *more: str) -> int:
    return report.main(["--folder", str(folder), "--page", str(page), *more])


def test_the_page_and_the_plots_are_the_same_bytes_twice(folder: Path) -> None:
    page = page_in(folder)
    written = [page, folder / "gap-closed.svg", folder / "loss-by-amount.svg"]
    assert ran(folder, page) == 0
    first = [path.read_bytes() for path in written]
    assert ran(folder, page) == 0
    assert [path.read_bytes() for path in written] == first
    text = page.read_text()
    assert text.startswith("# Study\n\nThe protocol.\n\n## goal\n")
    assert text.endswith("<!-- end -->\n\nThe limits.\n")
    assert text.count("| uniform |") == 5
    assert b"<dc:date>" not in first[1]


def test_the_check_notices_an_edited_table(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = page_in(folder)
    ran(folder, page)
    assert ran(folder, page, "--check") == 0
    honest = page.read_text()
    page.write_text(honest.replace("The protocol.", "Another word."))
    assert ran(folder, page, "--check") == 0
    edited = re.sub(r"(\| calibrated \| \**-)", r"\g<1>9", honest, count=1)
    assert edited != honest
    page.write_text(edited)
    capsys.readouterr()
    assert ran(folder, page, "--check") == 1
    assert json.loads(capsys.readouterr().out)["differs"] == ["table development 0.1"]
    assert page.read_text() == edited


def test_the_check_notices_other_results_and_an_edited_plot(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = page_in(folder, ("read-outs linear",))
    ran(folder, page)
    plot = folder / "gap-closed.svg"
    plot.write_text(plot.read_text().replace("100 %", "90 %"))
    found = made_up.lines()
    for one in found:
        one["fit_seconds"] *= 2
    with_lines(folder, found)
    capsys.readouterr()
    assert ran(folder, page, "--check") == 1
    said = json.loads(capsys.readouterr().out)["differs"]
    assert said == ["table read-outs linear", "plot gap-closed.svg"]


def test_the_second_confirmation_has_a_verdict_and_a_plot_once_it_has_results(folder: Path) -> None:
    page = page_in(folder, ("goal", "goal second", "second 0.1"))
    with pytest.raises(ConfigurationError, match="there is no table 'goal second'"):
        report.report(folder, page, check=False)
    assert not (folder / "gap-closed-second.svg").exists()
    arms = {"uniform": 0.0, "calibrated": 0.4, STEPPED: 0.8}
    with_lines(folder, made_up.lines({"fashion": 0.02, "letters": 0.02}, (0.1,), arms))
    assert ran(folder, page) == 0
    first, second = re.findall(r"The goal asks .*? closes", page.read_text())
    assert first.endswith("`calibrated` closes")
    assert second.endswith(f"`{STEPPED}` closes")
    assert (folder / "gap-closed-second.svg").exists()
    assert ran(folder, page, "--check") == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<!-- table: goal -->\n", "has no end"),
        ("<!-- table: goal -->\n<!-- table: tuning confirmation -->\n<!-- end -->\n", "no end"),
        ("<!-- table: goal -->\n<!-- end -->\n" * 2, "'goal' stands twice"),
        ("<!-- table: goals -->\n<!-- end -->\n", "there is no table 'goals'"),
    ],
)
def test_markers_that_mean_nothing_are_refused(folder: Path, text: str, said: str) -> None:
    page = folder / "study.md"
    page.write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        report.report(folder, page, check=False)


def test_names_beside_lines_are_moved_apart_and_no_further() -> None:
    assert apart([0.1, 0.5, 0.9], 0.1) == [0.1, 0.5, 0.9]
    assert apart([0.5, 0.5], 0.1) == pytest.approx([0.45, 0.55])
    moved = apart([0.2, 0.21, 0.22], 0.1)
    assert np.diff(moved).min() >= 0.1 - 1e-9


def test_the_page_of_the_repository_is_what_its_results_say(capfd: pytest.CaptureFixture) -> None:
    assert report.main(["--check"]) == 0, capfd.readouterr().err
