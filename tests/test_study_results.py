"""What results.csv and tuning.csv of the study may say, and what is named or refused."""

from datetime import date
from pathlib import Path

import pytest

from benchmarks.study.comparison import Comparison, compare
from benchmarks.study.parts import PARTS, part_of
from benchmarks.study.results import COLUMNS, Results, read_results
from benchmarks.study.tables import losses as loss_table
from benchmarks.study.tuned import COLUMNS as TUNING_COLUMNS
from benchmarks.study.tuned import read_tuning
from schemas.errors import DataQualityError, NoDataError
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


def test_the_files_have_the_columns_of_the_protocol() -> None:
    assert list(COLUMNS) == made_up.RESULTS
    assert list(TUNING_COLUMNS) == made_up.TUNING


def test_results_are_arrays_of_arms_seeds_and_days(folder: Path) -> None:
    runs = read_results(folder / "results.csv").runs["linear", 0.1]
    assert runs.arms == ("all", "calibrated", "frozen", "max-loss", "obftf", "uniform")
    assert runs.seeds == (0, 1, 2, 3)
    assert (runs.days[0], len(runs.days)) == (date(2013, 9, 7), 9)
    assert runs.read_outs["loss"].shape == (6, 4, 9)
    wanted = {"data": "linear", "arm": "obftf", "amount": 0.1, "seed": 2, "day": runs.days[3]}
    (line,) = [one for one in made_up.lines() if wanted.items() <= one.items()]
    assert runs.read_outs["loss"][4, 2, 3] == line["loss"]
    assert runs.rows[3] == line["rows"]


def test_the_order_of_the_lines_does_not_matter(folder: Path) -> None:
    forwards = compared(read_results(folder / "results.csv"))
    backwards = compared(with_lines(folder, made_up.lines()[::-1]))
    assert loss_table(forwards) == loss_table(backwards)


def test_an_arm_that_lacks_a_refresh_is_left_out_and_named(folder: Path) -> None:
    found = made_up.lines()
    lost = {"data": "linear", "arm": "obftf", "amount": 0.1, "seed": 3}
    kept = [one for one in found if not (lost.items() <= one.items() and one["day"].month == 9)]
    results = with_lines(folder, kept)
    assert "obftf" not in results.runs["linear", 0.1].arms
    assert "obftf" in results.runs["linear", 0.05].arms
    table = loss_table(compared(results))
    named = "obftf on linear at 0.1: lacks 4 of 36 refreshes, first seed 3 on 2013-09-07"
    assert f"Left out: {named}." in table
    (row,) = [line for line in table.splitlines() if line.startswith("| obftf |")]
    assert row.split(" | ")[3] == "-"
    assert row.endswith("| - |")  # nor is it in what the data sets come to together


def test_a_loss_that_is_not_finite_is_named(folder: Path) -> None:
    found = made_up.lines()
    next(one for one in found if one["arm"] == "max-loss" and one["amount"] == 0.1)["loss"] = "inf"
    (left_out,) = with_lines(folder, found).left_out
    assert str(left_out).startswith("max-loss on fashion at 0.1: its loss is not finite in 1 ")


def test_without_uniform_a_data_set_is_left_out_and_named(folder: Path) -> None:
    gone = {"data": "linear", "arm": "uniform", "amount": 0.1}
    results = with_lines(
        folder, [one for one in made_up.lines() if not gone.items() <= one.items()]
    )
    assert ("linear", 0.1) not in results.runs
    told = loss_table(compared(results))
    assert "uniform on linear at 0.1: has no line" in told
    assert "calibrated on linear at 0.1: not compared, as uniform did not run whole" in told


def test_a_line_twice_is_an_error(folder: Path) -> None:
    found = made_up.lines()
    with pytest.raises(
        DataQualityError, match=r"line 8: fashion,all,1\.0,0,2013-10-12 is line 7 again"
    ):
        with_lines(folder, [*found[:6], found[5], *found[6:]])


def test_other_rows_on_the_same_day_are_an_error(folder: Path) -> None:
    found = made_up.lines()
    found[-1]["rows"] = 5
    with pytest.raises(DataQualityError, match=r"has rows = 5, line \d+ of the same day has"):
        with_lines(folder, found)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("loss", "", "loss = ''. Remedy: write a number"),
        ("seed", "1.5", "seed = '1.5'. Remedy: write a whole number"),
        ("day", "5 May", "day = '5 May'. Remedy: write a date as YYYY-MM-DD"),
        ("data", "iris", "'iris' is in no part of the study"),
    ],
)
def test_a_value_that_cannot_be_read_is_named(
    folder: Path, column: str, value: str, said: str
) -> None:
    found = made_up.lines()
    found[3][column] = value
    with pytest.raises(DataQualityError) as error:
        with_lines(folder, found)
    assert f"line 5: {column} = " in str(error.value)
    assert said in str(error.value)


def test_a_file_of_other_columns_and_none_at_all_are_refused(folder: Path) -> None:
    with pytest.raises(DataQualityError, match=r"line 1: the columns are data,arm,amount,batch"):
        read_results(folder / "tuning.csv")
    with pytest.raises(NoDataError, match="no such file"):
        read_results(folder / "none.csv")


def test_an_arm_has_one_chosen_setting(folder: Path) -> None:
    found = made_up.trials()
    found[0]["chosen"] = "yes"
    made_up.write(folder / "tuning.csv", made_up.TUNING, found)
    with pytest.raises(DataQualityError, match="all on flights-autumn at 1 has 2 chosen settings"):
        read_tuning(folder / "tuning.csv")


def test_each_data_set_is_in_one_part() -> None:
    names = [name for part in PARTS.values() for name in part]
    assert len(set(names)) == len(names)
    assert [part_of(name) for name in ("digits", "linear", "letters")] == list(PARTS)
