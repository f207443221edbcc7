"""The tables of docs/study.md, as Markdown."""

from collections.abc import Iterable, Sequence
from math import isfinite

from benchmarks.study.comparison import Cell, Comparison
from benchmarks.study.parts import ALL, UNIFORM
from benchmarks.study.readouts import ReadOut
from benchmarks.study.resample import RESAMPLES, block_length
from benchmarks.study.results import LeftOut, Runs
from trainer.promotion.intervals import Interval

UNIT = 1e-4  # of the differences
ABSENT = "-"
NO_GAP = "no gap"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the bar of a name would end its cell."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def losses(compared: Comparison) -> str:
    """An arm a row, a data set a column: difference to uniform, its interval, share closed."""
    head = [
        "arm",
        *(_heading(compared, name) for name in compared.data),
        f"together<br>{len(compared.data)} data sets",
    ]
    rows = [
        [arm, *(_cell(compared, arm, name) for name in compared.data), _pooled(compared, arm)]
        for arm in compared.arms
    ]
    return "\n\n".join([table(head, rows), _caption(compared), *_left_out(compared.left_out)])


def _heading(compared: Comparison, name: str) -> str:
    runs = compared.runs[name]
    return f"{name}<br>{_extent(runs)}"


def _extent(runs: Runs) -> str:
    seeds, days = len(runs.seeds), len(runs.days)
    return f"{seeds} seed{'s' * (seeds > 1)}, {days} refresh{'es' * (days > 1)}"


def _cell(compared: Comparison, arm: str, name: str) -> str:
    cell = compared.cells.get((arm, name))
    if cell is None:
        return ABSENT
    if arm == UNIFORM:
        return f"loss {cell.loss:.5f}"
    lines = [_difference(cell)]
    if arm == ALL:
        lines.insert(0, f"loss {cell.loss:.5f}")
    lines.append(NO_GAP if cell.share is None else percent(cell.share.interval))
    return "<br>".join(lines)


def _difference(cell: Cell) -> str:
    text = in_units(cell.difference)
    if cell.worse:
        return f"**{text} worse**"
    return f"**{text}**" if cell.better else text


def _pooled(compared: Comparison, arm: str) -> str:
    if arm == UNIFORM or arm not in compared.pooled:
        return ABSENT
    pooled = compared.pooled[arm]
    return NO_GAP if pooled is None else percent(pooled.interval)


def _caption(compared: Comparison) -> str:
    least = min(1.0, 2 * compared.tests / (RESAMPLES + 1))
    blocks = sorted({block_length(len(runs.days)) for runs in compared.runs.values()})
    days = " or ".join(map(str, blocks))
    return (
        f"At {compared.amount:g} backward passes for each forward pass. First line: loss less"
        " uniform's, x 1e-4, with its 95 % interval (not corrected). Bold: differs from uniform at"
        f" 5 % after Holm's correction over all {compared.tests} differences of this table; bold"
        f" and *worse*: above uniform. (The least p that {RESAMPLES:,} resamples can show is"
        f" {least:.2g} after it.) Second line: share of the gap from uniform to all rows that is"
        f" closed, with its 95 % interval; {NO_GAP}: the interval of the gap itself is not above 0."
        " Together: the same of the relative gains summed over the data sets; only of arms that ran"
        f" on each. Intervals: crossed bootstrap of refreshes, in blocks of {days}, and"
        " seeds, expanded for how few they are (`benchmarks/study/estimate.py`)."
    )


def _left_out(found: Sequence[LeftOut]) -> list[str]:
    return ["Left out: " + "; ".join(map(str, found)) + "."] if found else []


def read_outs(compared: Comparison, name: str, found: Sequence[ReadOut]) -> str:
    """What else was read of the arms on one data set at one amount."""
    head = [
        *("arm", "AUC", "predicted / observed", "worst segment", "spread over seeds"),
        *("backward passes", "records read, MB", "features joined, MB"),
        *("selecting, s", "fitting, s"),
    ]
    own = {one.arm: one for one in found}
    rows = [_read_out(own[arm]) for arm in compared.arms if arm in own]
    runs = compared.runs[name]
    forward = found[0].forward_passes
    caption = (
        f"{name} at {compared.amount:g} backward passes for each forward pass: {_extent(runs)},"
        f" {forward:,.0f} forward passes. AUC and worst segment:"
        " less uniform's, x 1e-4, with 95 % intervals that are not corrected. Spread: standard"
        " deviation of the loss over seeds, x 1e-4. The rest: sums over the refreshes, means over"
        " the seeds."
    )
    left_out = [one for one in compared.left_out if one.data == name]
    return "\n\n".join([table(head, rows), caption, *_left_out(left_out)])


def _read_out(one: ReadOut) -> list[str]:
    return [
        one.arm,
        ABSENT if one.auc is None else in_units(one.auc),
        ABSENT if one.calibration is None else f"{one.calibration:.3f}",
        ABSENT if one.worst_segment is None else in_units(one.worst_segment),
        ABSENT if one.spread is None else number(one.spread / UNIT).lstrip("+"),
        f"{one.backward_passes:,.0f}",
        f"{one.record_bytes / 1e6:,.1f}",
        f"{one.feature_bytes / 1e6:,.1f}",
        f"{one.select_seconds:,.1f}",
        f"{one.fit_seconds:,.1f}",
    ]


def in_units(found: Interval) -> str:
    """An interval of a difference, x 1e-4."""
    value, low, high = (number(end / UNIT) for end in found)
    return f"{value} [{low}, {high}]"


def number(value: float) -> str:
    """With its sign; a figure behind the point below 100, which is below what seeds move."""
    if abs(value) >= 99.95:
        return f"{value:+,.0f}"
    return "0.0" if abs(value) < 0.05 else f"{value:+.1f}"


def percent(share: Interval) -> str:
    """A share with its interval; an end that no resample bounds is infinite."""
    low, high = (f"{100 * end:,.0f}" if isfinite(end) else f"{end:+}" for end in share[1:])
    return f"{100 * share.value:,.0f} % [{low}, {high}]"
