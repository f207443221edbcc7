"""Plots of a report as SVG text for one HTML page, whose style sheet gives the colours.

Figures are made by matplotlib's object API, without pyplot, a display or the user's settings. Text
stays text. Equal reports give equal bytes.
"""

import io
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from spark_jobs.report.checks import LARGEST_CALIBRATION_GAP, LEAST_EFFECTIVE
from spark_jobs.report.tables import column_name

Report = Mapping[str, Any]

# Stand-ins that the SVG bears until each becomes a variable of the page's style sheet.
INK, MUTED, ALL, DRAWN, LINE, WARN = (f"#00000{i}" for i in range(1, 7))
_VARIABLES = {INK: "ink", MUTED: "muted", ALL: "all", DRAWN: "drawn", LINE: "line", WARN: "warn"}
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tenforward",
    "font.family": "DejaVu Sans",  # comes with matplotlib: equal on every machine
    "font.size": 9.0,
    "text.parse_math": False,  # a level may be named "$"
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.unicode_minus": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "xtick.color": MUTED,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}
WIDTH = 5.2  # inches; the page scales it
ROW = 0.3  # inches a line of a bar chart
LONGEST_NAME = 24
MOST_LEVELS = 12  # of one segment key; the table has them all
MOST_GAPS = 15


def svg(plot: Callable[[Report], Figure], report: Report, label: str) -> str:
    """The plot as an <svg> element; label: what it shows, for who cannot see it."""
    name = plot.__name__
    sink = io.StringIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the browser has the fonts
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        plot(report).savefig(sink, format="svg", metadata={"Date": None}, transparent=True)
    text = sink.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    box = re.search(r'viewBox="[^"]*"', text)
    assert box is not None
    opening = f'<svg role="img" aria-label="{_attribute(label)}" {box.group()}>'
    text = opening + text[text.index(">") + 1 :]
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    return text


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


def short(name: object) -> str:
    """A name as a label: one line, not too long, never empty."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(name)).split())
    if not text:
        return "(empty)"
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…"


def _axes(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def _percent(value: float, _: float = 0.0) -> str:
    return f"{100 * value:.3g} %"


def _lines(axes: Axes, names: list[str], at: list[float]) -> None:
    """Name the lines of a bar chart, the first on top."""
    axes.set_yticks(at, names)
    axes.set_ylim(max(at) + 0.6, min(at) - 0.6)
    axes.grid(axis="x")


def _value(axes: Axes, x: float, y: float, text: str) -> None:
    axes.annotate(text, (x, y), (4, 0), textcoords="offset points", va="center", color=INK)


def effective(report: Report) -> Figure:
    """Budget, drawn rows and effective rows as bars."""
    bars = [("budget", report["budget"], ALL), ("drawn", report["drawn"], DRAWN)]
    if "effective_sample_size" in report:
        bars.append(("effective", report["effective_sample_size"], DRAWN))
    figure, axes = _axes(1.75)
    for y, (_, size, colour) in enumerate(bars):
        axes.barh(y, size, 0.62, color=colour, alpha=0.6 if y == 2 else 1.0)
        _value(axes, size, y, f"{size:,.0f}")
    if len(bars) > 2:
        half = LEAST_EFFECTIVE * report["budget"]
        axes.axvline(half, color=WARN, linewidth=1.2, linestyle="--")
        axes.set_xlabel("rows (dashed: half of the budget)")
    _lines(axes, [name for name, _, _ in bars], list(range(len(bars))))
    axes.set_xlim(0, 1.15 * max(size for _, size, _ in bars))
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    return figure


def top_losses(report: Report) -> Figure:
    """Share drawn of the largest losses, against that of all candidates."""
    included = report["top_loss_drawn"] / max(report["top_loss_rows"], 1)
    budget = report["budget"] / report["candidates"]
    figure, axes = _axes(1.75)
    names = ["all candidates", "top 1 % losses"]
    for y, (size, colour) in enumerate([(budget, ALL), (included, DRAWN)]):
        axes.barh(y, size, 0.55, color=colour)
        _value(axes, size, y, _percent(size))
    _lines(axes, names, [0, 1])
    axes.set_xlim(0, min(1.15, 1.4 * max(included, budget, 0.01)))
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter(_percent)
    axes.set_xlabel("share drawn")
    return figure


def loss_distribution(report: Report) -> Figure:
    """Share of the candidates in each bin of the loss."""
    losses = report["loss_distribution"]
    figure, axes = _axes(0.9 + ROW * len(losses["shares"]))
    for y, size in enumerate(losses["shares"]):
        axes.barh(y, size, 0.62, color=ALL)
        _value(axes, size, y, _percent(size))
    names = [f"below {edge:.3g}" for edge in losses["edges"]]
    _lines(axes, [*names, "above"], list(range(len(losses["shares"]))))
    axes.set_xlim(0, 1.2 * max(losses["shares"]))
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter(_percent)
    axes.set_xlabel("share of the candidates")
    return figure


def score_quantiles(report: Report) -> Figure:
    """Quantiles of the score: where the drawn rows moved."""
    every, drawn = report["score_quantiles"]["all"], report["score_quantiles"]["drawn"]
    levels = [q for q in every if q in drawn]
    figure, axes = _axes(0.9 + ROW * len(levels))
    for y, q in enumerate(levels):
        axes.plot([every[q], drawn[q]], [y, y], color=LINE, linewidth=3, zorder=1)
    places = range(len(levels))
    axes.scatter([every[q] for q in levels], places, 36, color=ALL, label="all", zorder=2)
    axes.scatter(
        [drawn[q] for q in levels], places, 36, color=DRAWN, marker="D", label="drawn", zorder=3
    )
    _lines(axes, [_percent(float(q)) for q in levels], list(places))
    values = [group[q] for group in (every, drawn) for q in levels]
    if min(values) > 0.0 and max(values) > 200.0 * sorted(values)[len(values) // 2]:
        axes.set_xscale("log")
    axes.set_xlabel("score")
    axes.set_ylabel("quantile")
    _legend(axes)
    return figure


def _legend(axes: Axes) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0, borderpad=0.2)


def segments(report: Report) -> Figure:
    """Share of each segment level, by segment key, the largest levels first."""
    keys: dict[str, list[dict[str, Any]]] = {}
    for line in report["segments"]:
        keys.setdefault(line["segment"], []).append(line)
    groups = {}
    for key, lines in keys.items():
        largest = sorted(lines, key=lambda line: -line["candidates"])[:MOST_LEVELS]
        groups[key] = [(line["level"], line["share"], line["share_drawn"]) for line in largest]
    return _shares(groups)


def versions(report: Report) -> Figure:
    """Share of each model version, the largest first."""
    lines = _by_share(report, "versions")
    return _shares({"": sorted(lines, key=lambda line: -line[1])[:MOST_LEVELS]})


def _by_share(report: Report, name: str) -> list[tuple[str, float, float]]:
    n, drawn = max(report["candidates"], 1), max(report["drawn"], 1)
    return [(g, c["candidates"] / n, c["drawn"] / drawn) for g, c in report[name].items()]


def _shares(groups: dict[str, list[tuple[str, float, float]]]) -> Figure:
    """Pairs of bars, all above drawn, under the name of their group if it has one."""
    names, at, bars, y = [], [], [], 0.0
    for group, lines in groups.items():
        if group:
            names.append(short(group))
            at.append(y)
        for level, every, drawn in lines:
            y += 1.0
            names.append(short(level))
            at.append(y)
            bars.append((y, every, drawn))
        y += 1.2
    figure, axes = _axes(0.75 + ROW * (y - 0.2))
    places = [place for place, _, _ in bars]
    axes.barh([p - 0.2 for p in places], [e for _, e, _ in bars], 0.36, color=ALL, label="all")
    axes.barh([p + 0.2 for p in places], [d for _, _, d in bars], 0.36, color=DRAWN, label="drawn")
    _lines(axes, names, at)
    headings = set(at) - set(places)
    for label, place in zip(axes.get_yticklabels(), at, strict=True):
        if place in headings:
            label.set_color(MUTED)
            label.set_fontstyle("italic")
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter(_percent)
    _legend(axes)
    return figure


def ages(report: Report) -> Figure:
    """Share of each age of the score, in days before the newest event."""
    lines = _by_share(report, "ages")
    figure, axes = _axes(2.3)
    days = [int(day) for day, _, _ in lines]
    axes.bar([d - 0.2 for d in days], [e for _, e, _ in lines], 0.38, color=ALL, label="all")
    axes.bar([d + 0.2 for d in days], [s for _, _, s in lines], 0.38, color=DRAWN, label="drawn")
    axes.grid(axis="y")
    axes.set_xlim(-0.6, max([6, *days]) + 0.6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.locator_params(axis="y", nbins=4)
    axes.yaxis.set_major_formatter(_percent)
    axes.tick_params(axis="y", colors=MUTED)
    axes.set_xlabel("age, days before the newest event")
    _legend(axes)
    return figure


def calibration(report: Report) -> Figure:
    """The totals that the weighted sample misses by most."""
    calibration = report["calibration"]
    relative = calibration.get("relative_gaps")
    gaps = relative or calibration["gaps"]
    names = sorted(gaps, key=lambda name: -abs(gaps[name]))[:MOST_GAPS]
    figure, axes = _axes(0.75 + 0.24 * len(names))
    axes.barh(range(len(names)), [gaps[name] for name in names], 0.6, color=DRAWN)
    axes.axvline(0.0, color=MUTED, linewidth=0.8)
    _lines(axes, [short(column_name(report, name)) for name in names], [*range(len(names))])
    widest = max([abs(gaps[name]) for name in names], default=0.0) or 1.0
    if relative:
        widest = max(widest, 1.1 * LARGEST_CALIBRATION_GAP)
        for side in (-1, 1):
            axes.axvline(side * LARGEST_CALIBRATION_GAP, color=WARN, linewidth=1.2, linestyle="--")
        axes.xaxis.set_major_formatter(_percent)
    axes.set_xlim(-1.1 * widest, 1.1 * widest)
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel(
        "gap / spread of the column (dashed: ±5 %)" if relative else "gap of the mean, in its units"
    )
    return figure
