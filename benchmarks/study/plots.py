"""The plots of docs/study.md as SVG text: equal results give equal bytes.

Made by matplotlib's object API, without pyplot, a display or the user's settings. 700 pixels wide,
on white, as a README shows them; blue, vermilion and black are told apart by colour-blind readers
too (Okabe and Ito, 2008), and every line and dot is named beside it.
"""

import io
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.study.comparison import Comparison
from benchmarks.study.parts import ALL, AMOUNT, DEFAULT, FROZEN, PARTS, UNIFORM, judged_arm, part_of
from spark_jobs.report.plots import SETTINGS as REPORT_CARD
from trainer.promotion.intervals import Interval

WIDTH = 700 / 96  # inches: 700 pixels
INK, MUTED, LINE = "#1a1a1a", "#5f5f5f", "#d9d9d9"
BLUE, VERMILION, OTHER = "#0072b2", "#d55e00", "#6b7280"
SETTINGS: dict[Any, Any] = REPORT_CARD | {
    "font.size": 8.0,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.titlesize": 7.5,
    "axes.titleweight": "bold",
    "xtick.color": MUTED,
    "ytick.color": INK,
    "grid.color": LINE,
}
ROW = 0.2  # inches of an arm
SHARES = -0.5, 1.5  # that the dot plot shows; what lies beyond stands as a figure at its edge
TITLE = 15  # characters side by side over a panel of the dot plot
COLUMNS = 3  # panels side by side
GAP_CLOSED = {"confirmation": "gap-closed", "second": "gap-closed-second"}  # names, by part


def plots(comparisons: Sequence[Comparison]) -> dict[str, str]:
    """Every plot by name, as SVG text; of those that the results have something for."""
    found: dict[str, str] = {}
    for one in comparisons:
        if one.part in GAP_CLOSED and one.amount == AMOUNT:
            found[GAP_CLOSED[one.part]] = svg(partial(gap_closed, one))
    if comparisons:
        found["loss-by-amount"] = svg(partial(loss_by_amount, comparisons))
    return found


@contextmanager
def settings() -> Iterator[None]:
    """Matplotlib as these plots need it, whatever the user's settings; undone at the end."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        yield


def svg(plot: Callable[[], Figure]) -> str:
    """The figure as SVG text, without a date."""
    sink = io.StringIO()
    with settings():
        plot().savefig(sink, format="svg", metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in sink.getvalue().splitlines()) + "\n"


# --- the share of the gap closed: a row an arm, a panel a data set ---


def gap_closed(compared: Comparison) -> Figure:
    """Share of the gap from uniform to all rows that each arm closes, with its interval."""
    arms = [arm for arm in compared.arms if arm not in (UNIFORM, ALL, FROZEN)]
    of_panels = {"together": compared.pooled} | {
        name: {arm: cell.share for arm in arms if (cell := compared.cells.get((arm, name)))}
        for name in compared.data
    }
    panels = {
        name: {arm: share.interval for arm in arms if (share := shares.get(arm))}
        for name, shares in of_panels.items()
    }
    judged = judged_arm(compared.part)
    figure = Figure(figsize=(WIDTH, 1.0 + ROW * len(arms)), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for place, (name, shares) in zip(axes, panels.items(), strict=True):
        _dots(place, arms, shares, judged)
        place.set_title(textwrap.fill(name, TITLE))
    axes[0].set_yticks(range(len(arms)), arms)
    axes[0].set_ylim(len(arms) - 0.4, -0.6)
    for label, arm in zip(axes[0].get_yticklabels(), arms, strict=True):
        label.set(weight="bold" if arm == judged else "normal", color=_colour(arm, judged))
    figure.supxlabel(
        "share of the gap closed between uniform (0 %) and all rows once (100 %), with 95 %"
        f" interval,\nat {compared.amount:g} backward passes for each forward pass"
        " (blank: not run)",
        size=8,
        color=MUTED,
    )
    return figure


def _colour(arm: str, judged: str) -> str:
    return BLUE if arm == judged else INK


def _dots(axes: Axes, arms: Sequence[str], shares: Mapping[str, Interval], judged: str) -> None:
    low, high = SHARES
    axes.set_xlim(low, high)
    axes.set_xticks([0.0, 1.0], ["0", "100 %"])
    axes.tick_params(axis="y", length=0)
    for x in (0.0, 1.0):
        axes.axvline(x, color=MUTED, linewidth=0.8, zorder=0)
    for y in range(len(arms)):
        axes.axhline(y, color=LINE, linewidth=0.5, zorder=0)
    if not shares:
        middle = axes.text(0.5, 0.5, "no gap", ha="center", va="center", transform=axes.transAxes)
        middle.set(color=MUTED, backgroundcolor="white")
    for y, arm in enumerate(arms):
        if arm in shares:
            _dot(axes, y, shares[arm], BLUE if arm == judged else OTHER)


def _dot(axes: Axes, y: int, share: Interval, colour: str) -> None:
    low, high = SHARES
    if low <= share.value <= high:
        ends = np.clip(share[1:], low, high)
        axes.plot(ends, [y, y], color=colour, linewidth=1.6, solid_capstyle="butt", zorder=2)
        axes.plot(share.value, y, "o", color=colour, markersize=4, zorder=3)
        return
    left = share.value < low
    text = f"◂ {100 * share.value:,.0f}" if left else f"{100 * share.value:,.0f} ▸"
    axes.text(
        low if left else high,
        y,
        text,
        ha="left" if left else "right",
        va="center",
        size=7,
        color=colour,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
    )


# --- the loss by amount: a panel a data set ---


def loss_by_amount(comparisons: Sequence[Comparison]) -> Figure:
    """Loss of uniform, of the default and of all rows once; the shade of the first two is the
    interval of their distance to the last."""
    there = {name for one in comparisons for name in one.data}
    data = [name for part in reversed(PARTS) for name in PARTS[part] if name in there]
    rows = -(-len(data) // COLUMNS)
    figure = Figure(figsize=(WIDTH, 0.5 + 1.75 * rows), layout="constrained")
    panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axes in panels[len(data) :]:
        axes.set_axis_off()
    for axes, name in zip(panels, data, strict=False):
        own = sorted((one for one in comparisons if name in one.data), key=lambda one: one.amount)
        _losses(axes, own, name)
        part = part_of(name)
        axes.set_title(name if part == "confirmation" else f"{name} ({part})", loc="left")
    figure.supxlabel(
        "backward passes for each forward pass; shade: 95 % interval of the distance to all rows"
        " once",
        size=8,
        color=MUTED,
    )
    figure.supylabel("mean loss of the next period", size=8, color=MUTED)
    return figure


def _losses(axes: Axes, own: Sequence[Comparison], name: str) -> None:
    amounts = [one.amount for one in own]
    full = own[-1].cells[ALL, name].loss
    axes.axhline(full, color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
    labels = [(full, "all rows", INK)]
    for arm, colour, marker in ((UNIFORM, VERMILION, "s"), (DEFAULT, BLUE, "o")):
        there = [(one.amount, one.cells[arm, name]) for one in own if (arm, name) in one.cells]
        if not there:
            continue
        at = [amount for amount, _ in there]
        low = [cell.loss - cell.above_all.value + cell.above_all.low for _, cell in there]
        high = [cell.loss - cell.above_all.value + cell.above_all.high for _, cell in there]
        losses = [cell.loss for _, cell in there]
        axes.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(at, losses, marker, linestyle="-", color=colour, markersize=4, linewidth=1.5)
        labels.append((losses[-1], arm, colour))
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_xticks(amounts, [f"{amount:g}" for amount in amounts])
    axes.set_xlim(min(amounts) * 0.85, max(amounts) * 1.15)
    axes.grid(axis="y")
    axes.locator_params(axis="y", nbins=4)
    axes.tick_params(axis="y", colors=MUTED)
    _name(axes, labels)


def _name(axes: Axes, labels: Sequence[tuple[float, str, str]]) -> None:
    """Names right of the lines' ends, in their order, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    ordered = sorted(labels)
    wanted = [(value - low) / (high - low) for value, _, _ in ordered]
    for at, (_, text, colour) in zip(apart(wanted), ordered, strict=True):
        axes.annotate(
            text,
            (1.0, at),
            (3, 0),
            xycoords="axes fraction",
            textcoords="offset points",
            va="center",
            color=colour,
            annotation_clip=False,
        )


def apart(wanted: Sequence[float], least: float = 0.13) -> list[float]:
    """Places at least so far apart, near those that are wanted, which ascend.

    The mean of moving them up from the lowest and down from the highest.
    """
    up, down = list(wanted), list(wanted)
    for place in range(1, len(wanted)):
        up[place] = max(up[place], up[place - 1] + least)
    for place in reversed(range(len(wanted) - 1)):
        down[place] = min(down[place], down[place + 1] - least)
    return [(one + other) / 2 for one, other in zip(up, down, strict=True)]
