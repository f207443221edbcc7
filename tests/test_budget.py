"""A budget: a share, a number of rows, or GPU hours."""

import numpy as np
import pytest

from schemas.errors import ConfigurationError
from schemas.sections.budget import Budget, parse_budget


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        (0.1, 0.1, "share"),
        (1, 1.0, "share"),
        ("0.25", 0.25, "share"),
        (".5", 0.5, "share"),
        (" 0.1 ", 0.1, "share"),
        (0.00005, 0.00005, "share"),
        ("0.00005", 0.00005, "share"),
        ("5e-05", 0.00005, "share"),
        (1e-9, 1e-9, "share"),
        (np.float32(0.25), 0.25, "share"),
        (np.float64(5e-5), 0.00005, "share"),
        ("5000 rows", 5000.0, "rows"),
        ("5000.0 rows", 5000.0, "rows"),
        ("0.5 gpu hours", 0.5, "gpu hours"),
        ("2 gpu-hours", 2.0, "gpu hours"),
    ],
)
def test_every_form_is_read(text, amount, unit):
    assert parse_budget(text) == Budget(amount, unit)


@pytest.mark.parametrize(
    "bad",
    [
        *(0, 0.0, -0.1, 1.5, 2, float("nan"), float("inf"), True),
        *("", "0", "ten", "10 %", "0 rows", "-5 rows", "5rows", "5 lines", "1e3 rows"),
        *("0 gpu hours", "1e400", "-5e-05", "nan", "inf", None),
    ],
)
def test_what_is_no_budget_is_refused_with_the_forms(bad):
    with pytest.raises(ConfigurationError, match=r"budget = .*Remedy: write 0.1 \(a share.*rows"):
        parse_budget(bad)


@pytest.mark.parametrize("budget", [0.00005, 1e-9, 0.1, "5000 rows", "0.0000001 gpu hours"])
def test_what_a_budget_says_of_itself_is_read_again(budget):
    """The manifest keeps it as text."""
    assert parse_budget(str(parse_budget(budget))) == parse_budget(budget)


def test_half_a_row_is_refused():
    with pytest.raises(ConfigurationError, match=r"'0.5 rows': not a whole number.*Remedy: round"):
        parse_budget("0.5 rows")


@pytest.mark.parametrize(
    ("budget", "count", "k"),
    [
        (0.1, 1000, 100),
        (0.1, 1004, 100),
        (0.1, 1006, 101),
        (0.001, 10, 1),
        (1.0, 10, 10),
        ("7 rows", 10, 7),
        ("70 rows", 10, 10),
        (0.5, 1, 1),
    ],
)
def test_rows_of_so_many_candidates_at_least_one_at_most_all(budget, count, k):
    assert parse_budget(budget).rows(count) == k


def test_gpu_hours_are_rows_that_so_many_epochs_fit_into():
    """Half an hour at 1000 rows a second, nine epochs."""
    assert parse_budget("0.5 gpu hours").in_rows(1000.0, 9) == Budget(200_000, "rows")
    assert parse_budget("0.5 gpu hours").in_rows(1e-9, 9) == Budget(1, "rows")


def test_other_units_stay_as_they_are():
    assert parse_budget(0.1).in_rows(1000.0, 9) == Budget(0.1, "share")
    assert parse_budget("5 rows").in_rows(1000.0, 9) == Budget(5.0, "rows")


def test_gpu_hours_without_a_known_speed_are_refused():
    with pytest.raises(ConfigurationError, match=r"gpu hours.*needs the speed.*Remedy: give"):
        parse_budget("0.5 gpu hours").rows(1000)
