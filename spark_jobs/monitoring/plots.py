"""Plots of a pipeline over its days, all on one time axis; drawn as those of the report card."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure

from schemas.manifests import BOOTSTRAP
from spark_jobs.report.plots import ALL, DRAWN, LINE, MUTED, WARN, short

Report = Mapping[str, Any]
Row = Mapping[str, Any]

WIDTH, HEIGHT = 10.4, 2.5  # inches; the page scales them
MOST_NAMED = 12  # promotions; more of them bear no number
DASHES = ("-", "--", ":", "-.")


def _axes(report: Report) -> tuple[Figure, Axes]:
    """A figure over the report's days, with its promotions and refreshes."""
    figure = Figure(figsize=(WIDTH, HEIGHT))
    # The same room for every figure, so that a day stands in one place in all of them.
    figure.subplots_adjust(left=0.085, right=0.995, bottom=0.17, top=0.86)
    axes = figure.add_subplot()
    days = [row["event_date"] for row in report["days"]]
    first, last = min(days) - timedelta(days=1), max(days) + timedelta(days=1)
    axes.set_xlim(first, last)
    locator = AutoDateLocator(minticks=3, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.grid(axis="y")
    axes.tick_params(axis="y", colors=MUTED)
    promoted = [one for one in report["promotions"] if first < one["day"] < last]
    for one in promoted:
        axes.axvline(one["day"], color=MUTED, linewidth=0.8, linestyle=":", zorder=0)
        if len(promoted) <= MOST_NAMED:
            name = short(one["model_version"]) + (" (rolled back)" if one["rolled_back"] else "")
            _beside(axes, one["day"], name)
    made = [one["ds"] for one in report["refreshes"] if first < one["ds"] < last]
    below = axes.get_xaxis_transform()
    axes.plot(made, [0.0] * len(made), "|", color=ALL, markersize=9, transform=below, zorder=0)
    return figure, axes


def _beside(axes: Axes, day: date, text: str) -> None:
    place = (float(date2num(day)), 1.0)
    axes.annotate(
        text, place, (2, -2), xycoords=axes.get_xaxis_transform(), textcoords="offset points",
        va="top", color=MUTED, fontsize=7.5,
    )  # fmt: skip


def _by_version(rows: Sequence[Row], name: str) -> Iterator[list[Row]]:
    """The rows of each version that have the figure, by day."""
    for version in dict.fromkeys(row["model_version"] for row in rows):
        own = [row for row in rows if row["model_version"] == version and row[name] is not None]
        if own:
            yield own


def _estimate(axes: Axes, rows: Sequence[Row], name: str, label: str) -> None:
    """A figure with its intervals, a line a version."""
    first = True
    for own in _by_version(rows, name):
        days = [row["event_date"] for row in own]
        values = [row[name] for row in own]
        low, high = (
            [row[f"{name}_{end}"] if row[f"{name}_{end}"] is not None else row[name] for row in own]
            for end in ("low", "high")
        )
        axes.vlines(days, low, high, color=DRAWN, linewidth=3, alpha=0.3)
        axes.plot(
            days, values, "o-", color=DRAWN, markersize=3.5, linewidth=1.1,
            label=label if first else None,
        )  # fmt: skip
        first = False


def _limit(axes: Axes, value: float | None) -> None:
    if value is not None:
        axes.axhline(value, color=WARN, linewidth=1.1, linestyle="--")


def _legend(axes: Axes) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderaxespad=0, borderpad=0.2)


def loss(report: Report) -> Figure:
    """Loss of the matured records, and what predictions expect of all and of the matured."""
    figure, axes = _axes(report)
    rows = report["days"]
    for name, label, style in (
        ("expected_loss", "expected, all records", ":"),
        ("expected_loss_matured", "expected, matured records", "-"),
    ):
        for number, own in enumerate(_by_version(rows, name)):
            axes.plot(
                [row["event_date"] for row in own], [row[name] for row in own], style,
                color=ALL, linewidth=1.6, marker="s", markersize=2.5,
                label=None if number else label,
            )  # fmt: skip
    _estimate(axes, rows, "loss", "observed")
    _limit(axes, report["limits"].get("max_loss"))
    axes.set_ylabel("loss")
    _legend(axes)
    return figure


def auc(report: Report) -> Figure:
    """Area under the ROC curve, with intervals."""
    figure, axes = _axes(report)
    _estimate(axes, report["days"], "auc", "AUC")
    axes.set_ylabel("AUC")
    return figure


def calibration(report: Report) -> Figure:
    """Predicted to observed, with intervals, around 1."""
    figure, axes = _axes(report)
    axes.axhline(1.0, color=ALL, linewidth=1.0)
    _estimate(axes, report["days"], "calibration_ratio", "predicted to observed")
    gap = report["limits"].get("max_calibration_gap")
    for side in () if gap is None else (1 - gap, 1 + gap):
        _limit(axes, side)
    axes.set_ylabel("predicted / observed")
    return figure


def coverage(report: Report) -> Figure:
    """The share of instances with a record, and of records with a label that counts."""
    figure, axes = _axes(report)
    recorded = {r["event_date"]: (r["recorded"], r["instances"]) for r in report["days"]}
    days = sorted(day for day, (_, asked) in recorded.items() if asked)
    shares = [recorded[day][0] / recorded[day][1] for day in days]
    axes.plot(days, shares, "s-", color=ALL, markersize=3, label="instances with a record")
    for number, own in enumerate(_by_version(report["days"], "records")):
        axes.plot(
            [row["event_date"] for row in own],
            [row["matured"] / row["records"] for row in own],
            "o-", color=DRAWN, markersize=3.5,
            label=None if number else "records with a matured label",
        )  # fmt: skip
    _limit(axes, report["limits"].get("min_coverage"))
    axes.set_ylim(-0.04, 1.15)
    axes.set_ylabel("share")
    _legend(axes)
    return figure


def drift(report: Report) -> Figure:
    """Population stability index of predictions and of each segment key."""
    figure, axes = _axes(report)

    def of_key(at: int) -> Callable[[Row], float | None]:
        return lambda row: row["segment_drift"][at] if row["segment_drift"] else None

    of: dict[str, Callable[[Row], float | None]] = {"predictions": lambda r: r["prediction_drift"]}
    of |= {key: of_key(at) for at, key in enumerate(report["keys"])}
    for number, (name, index) in enumerate(of.items()):
        own = [(row["event_date"], index(row)) for row in report["days"]]
        known = [(day, value) for day, value in own if value is not None]
        axes.plot(
            [day for day, _ in known], [value for _, value in known],
            DASHES[number % len(DASHES)], color=DRAWN if number == 0 else MUTED,
            marker="o", markersize=3, label=short(name),
        )  # fmt: skip
    _limit(axes, report["limits"].get("max_drift"))
    axes.set_ylim(bottom=0)
    axes.set_ylabel("stability index")
    _legend(axes)
    return figure


def sketch(report: Report) -> Figure:
    """Standardised mean difference of each number of the sketch."""
    figure, axes = _axes(report)
    axes.axhline(0.0, color=MUTED, linewidth=0.8)
    for row in report["days"]:
        values = row["sketch_drift"] or []
        axes.plot([row["event_date"]] * len(values), values, "_", color=DRAWN, markersize=7)
    axes.set_ylabel("difference / spread")
    return figure


def passes(report: Report) -> Figure:
    """Backward passes planned and spent, of each refresh on its day.

    The axis is that of the refreshes that records decided: a first model learns from all there is,
    and its bar is cut and bears its number.
    """
    figure, axes = _axes(report)
    made = report["refreshes"]
    shift = timedelta(hours=5)
    for name, colour, side in (("planned", ALL, -shift), ("spent", DRAWN, shift)):
        known = [one for one in made if one[name] is not None]
        days = date2num([datetime.combine(one["ds"], time()) + side for one in known])
        axes.bar(days, [one[name] for one in known], 0.36, color=colour, label=name)
    drawn = [one for one in made if one["policy"] != BOOTSTRAP]
    if drawn:
        top = 1.25 * max(1, *(one[name] or 0 for one in drawn for name in ("planned", "spent")))
        axes.set_ylim(0, top)
        for one in made:
            if one["spent"] > top:
                day = date2num(datetime.combine(one["ds"], time()) + 2 * shift)
                axes.text(day, 0.75 * top, f"{one['spent']:,}", color=MUTED, fontsize=8)
    axes.yaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    axes.set_ylabel("backward passes")
    axes.spines["bottom"].set_color(LINE)
    _legend(axes)
    return figure
