"""`make bench-check`: what it calls slower, and what figures are committed."""

import json
from datetime import date

import pytest

from benchmarks import check
from benchmarks.cost import Cost
from benchmarks.small import BENCHMARKS
from benchmarks.verdict import (
    AS_BEFORE,
    FASTER,
    NEW,
    SLOWER,
    TOLERANCES,
    Line,
    Ratio,
    lines,
    ratio,
    table,
    verdict,
)
from schemas.errors import ConfigurationError

COMMITTED = Ratio(1.0, 0.9, 1.2)


@pytest.mark.parametrize(
    ("median", "expected"),
    [
        (1.0, AS_BEFORE),
        (1.2 * 1.15 - 0.001, AS_BEFORE),  # above every committed round, by less than 15 %
        (1.2 * 1.15 + 0.001, SLOWER),
        (0.9 / 1.15 + 0.001, AS_BEFORE),
        (0.9 / 1.15 - 0.001, FASTER),
    ],
)
def test_the_median_decides_beyond_the_committed_spread_and_15_percent(median, expected):
    assert verdict(Ratio(median, 0.1, 10.0), COMMITTED, TOLERANCES["cpu"]) == expected


def test_by_the_clock_half_as_much_again_is_allowed():
    found = Ratio(1.5, 1.5, 1.5)
    assert Line("draw", "uniform", "cpu", found, COMMITTED).verdict == SLOWER
    assert Line("draw", "uniform", "wall", found, COMMITTED).verdict == AS_BEFORE


def test_without_committed_figures_there_is_nothing_to_compare():
    assert verdict(Ratio(9.0, 9.0, 9.0), None, 1.15) == NEW


def test_a_ratio_is_taken_within_each_round():
    """The machine is twice as slow in the second round, for both."""
    job, baseline = [Cost(2.0, 1.0), Cost(4.0, 2.0)], [Cost(1.0, 2.0), Cost(2.0, 4.0)]
    assert ratio(job, baseline, "wall") == Ratio(2.0, 2.0, 2.0)
    assert ratio(job, baseline, "cpu") == Ratio(0.5, 0.5, 0.5)


def test_a_ratio_has_four_figures():
    costs = [Cost(1.0, 1.0), Cost(2.0, 2.0), Cost(5.0, 5.0)]
    assert ratio(costs, [Cost(3.0, 3.0)] * 3, "cpu") == Ratio(0.6667, 0.3333, 1.667)


@pytest.fixture
def compared() -> list[Line]:
    """A job that is slower in CPU, one that is faster, one that is new."""
    slower = Ratio(1.5, 1.4, 1.6)
    now = {"a": {"cpu": slower}, "b": {"cpu": Ratio(0.1, 0.1, 0.1)}, "c": {"wall": slower}}
    before = {name: {"cpu": COMMITTED._asdict()} for name in ("a", "b", "gone")}
    return list(lines("draw", now, before))


def test_each_job_and_clock_has_a_line(compared):
    assert table(compared).splitlines() == [
        "benchmark  job  clock  ratio [min, max]  committed [min, max]  verdict",
        "draw       a    cpu    1.5 [1.4, 1.6]    1 [0.9, 1.2]          slower",
        f"draw       b    cpu    0.1 [0.1, 0.1]    1 [0.9, 1.2]          {FASTER}",
        "draw       c    wall   1.5 [1.4, 1.6]    -                     new",
    ]


def test_the_command_fails_for_what_is_slower_alone(compared):
    told = check.outcome(compared)
    assert (told["status"], told["exit_code"], told["slower"]) == ("slower", 1, ["draw: a, cpu"])
    assert told["ratios"]["draw"]["b"]["cpu"] == {
        "median": 0.1,
        "min": 0.1,
        "max": 0.1,
        "verdict": FASTER,
    }
    told = check.outcome(compared[1:])
    assert (told["status"], told["exit_code"], told["slower"]) == ("done", 0, [])


def test_the_committed_figures_are_those_of_every_job():
    committed = check.read_ratios()
    assert {name: set(entry["jobs"]) for name, entry in committed.items()} == {
        name: set(benchmark.jobs) for name, benchmark in BENCHMARKS.items()
    }
    check.require_committed(list(BENCHMARKS), committed)


def test_the_committed_figures_say_how_they_were_taken():
    for entry in check.read_ratios().values():
        assert set(entry) == {"cores", "date", "rounds", "jobs"}
        assert entry["cores"] >= 1
        assert entry["rounds"] >= 3
        date.fromisoformat(entry["date"])
        for clocks in entry["jobs"].values():
            assert set(clocks) == set(TOLERANCES)
            for found in clocks.values():
                assert 0 < found["min"] <= found["median"] <= found["max"]


def test_figures_are_written_sorted_and_read_back(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "RATIOS", tmp_path / "ratios.json")
    assert check.read_ratios() == {}
    found = {"b": {"wall": COMMITTED, "cpu": COMMITTED}, "a": {"cpu": COMMITTED}}
    written = {"draw": check.figures(found, 7), "cube": check.figures(found, 3)}
    check.write_ratios(written)
    assert check.read_ratios() == written
    text = (tmp_path / "ratios.json").read_text()
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"


def test_a_job_without_committed_figures_is_refused_before_anything_is_measured():
    committed = check.read_ratios()
    del committed["draw"]["jobs"]["uniform"]
    with pytest.raises(ConfigurationError, match=r"'uniform' of 'draw'.*--only draw --update"):
        check.require_committed(["draw"], committed)
    with pytest.raises(ConfigurationError, match=r"no figures of .* of 'select'"):
        check.require_committed(["select"], {})


def test_no_rounds_are_refused():
    with pytest.raises(ConfigurationError, match="--rounds = 0"):
        check.command(["--rounds", "0"])


def test_the_help_names_the_benchmarks(capsys):
    with pytest.raises(SystemExit, match="0"):
        check.main(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert ", ".join(BENCHMARKS) in said
