"""The page of a pipeline: how its models did over time, beside what was done to them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from markupsafe import Markup
from matplotlib.figure import Figure

from schemas.manifests import REPORT_CARDS
from spark_jobs.monitoring import events, plots
from spark_jobs.monitoring.levels import ALL
from spark_jobs.monitoring.limits import Passed
from spark_jobs.monitoring.performance import Row, as_of
from spark_jobs.report.pages import rendered, write_page
from spark_jobs.report.plots import svg
from spark_jobs.report.tables import UNKNOWN, Cell, Grid, count, number, share, words
from spark_jobs.storage.warehouse import Warehouse

MOST_DAYS = timedelta(days=366)  # on the page; the table `performance` has them all
MOST_LEVELS = 12  # of one segment key
FOLDED = 14  # rows; what is older is folded

Report = Mapping[str, Any]


class DayPanel(NamedTuple):
    """A plot and what it says; shown where a day has `needs`."""

    needs: str
    title: str
    sentence: str
    plot: Callable[[Report], Figure]


PANELS = (
    DayPanel(
        "records",
        "Loss",
        "What was observed beside what the predictions themselves expect: of the same records both"
        " should agree, and the expectation of all records is known before any label.",
        plots.loss,
    ),
    DayPanel(
        "auc",
        "AUC",
        "The chance that a positive was given a higher prediction than a negative.",
        plots.auc,
    ),
    DayPanel(
        "calibration_ratio",
        "Predicted to observed",
        "Above 1 more was predicted than came.",
        plots.calibration,
    ),
    DayPanel(
        "records",
        "Coverage",
        "A day whose labels are still to come has few; figures of it will change.",
        plots.coverage,
    ),
    DayPanel(
        "prediction_drift",
        "Drift of predictions and segments",
        "Population stability index against all records of the 28 days before: 0.1 is a small"
        " shift, 0.25 a large one.",
        plots.drift,
    ),
    DayPanel(
        "sketch_drift",
        "Drift of the sketch",
        "Standardised mean difference of each number against the same version's 28 days before.",
        plots.sketch,
    ),
)
PASSES = DayPanel(
    "spent", "Backward passes", "Planned and spent on the refresh of each day.", plots.passes
)


def write_page_of(warehouse: Warehouse, rows: Iterable[Row], beyond: Sequence[Passed]) -> str:
    """Write the page of the pipeline beside the report cards; its path or URI.

    rows: of `performance`, at all cuts. beyond: the limits that the last run found passed.
    """
    pipeline = warehouse.pipeline
    report = report_of(
        rows,
        pipeline=pipeline.name,
        keys=pipeline.instances.segments,
        limits=pipeline.monitor.model_dump(exclude_none=True),
        refreshes=events.refreshes(warehouse),
        promotions=events.promotions(warehouse),
    )
    place = f"{warehouse.path(REPORT_CARDS)}/monitor_{pipeline.name}.html"
    write_page(place, render(report, beyond).encode())
    return place


def report_of(rows: Iterable[Row], **about: Any) -> dict[str, Any]:
    """What the page shows, from at least one row of `performance`: the days, each as of
    the newest cut, and the levels of the newest of them that has as many labels as most.

    about: pipeline, keys, limits, refreshes, promotions.
    """
    now = sorted(as_of(rows).values(), key=lambda row: (row["event_date"], row["model_version"]))
    days = [row for row in now if row["segment"] == ALL]
    shares = sorted(row["matured"] / row["records"] for row in days)
    usual = shares[len(shares) // 2]
    settled = [row for row in days if row["matured"] / row["records"] >= usual]
    newest = settled[-1]
    levels = [
        row
        for row in now
        if row["segment"] != ALL
        and (row["event_date"], row["model_version"])
        == (newest["event_date"], newest["model_version"])
    ]
    cut = max(row["cut"] for row in now)
    return {**about, "days": days, "levels": levels, "newest": newest, "cut": cut}


def render(report: Report, beyond: Sequence[Passed]) -> str:
    """The page of `report_of`."""
    shown = [panel for panel in PANELS if any(row[panel.needs] for row in report["days"])]
    shown += [PASSES] if report["refreshes"] else []
    return rendered(
        "monitor.html",
        report=report,
        beyond=[str(one) for one in beyond],
        panels=[_shown(panel, report) for panel in shown],
        levels=level_table(report),
        days=day_table(report),
        folded=FOLDED,
    )


def _shown(panel: DayPanel, report: Report) -> dict[str, Any]:
    """What the template shows of a panel. The plot's text is escaped by matplotlib."""
    label = f"{panel.title}. {panel.sentence}"
    plot = Markup(svg(panel.plot, report, label))
    return {"title": panel.title, "sentence": panel.sentence, "plot": plot}


_HEAD = ("records", "matured", "loss", "expected", "AUC", "predicted / observed", "drift")


def level_table(report: Report) -> Grid:
    """The largest levels of each segment key on the newest settled day."""
    rows = []
    for key in report["keys"]:
        own = [row for row in report["levels"] if row["segment"] == key]
        largest = sorted(own, key=lambda row: (-row["records"], row["level"]))[:MOST_LEVELS]
        rows += [[words(key), words(row["level"]), *_cells(row)] for row in largest]
    return Grid(("segment", "level", *_HEAD), rows)


def day_table(report: Report) -> Grid:
    """The days, newest first."""
    rows = [
        [
            words(row["event_date"]),
            words(row["model_version"]),
            share(row["recorded"] / row["instances"] if row["instances"] else None),
            *_cells(row),
        ]
        for row in report["days"][::-1]
    ]
    return Grid(("day", "model version", "coverage", *_HEAD), rows)


def _cells(row: Row) -> list[Cell]:
    return [
        count(row["records"]),
        count(row["matured"]),
        _interval(row, "loss"),
        number(row["expected_loss_matured"]),
        _interval(row, "auc"),
        _interval(row, "calibration_ratio"),
        number(row["prediction_drift"]),
    ]


def _interval(row: Row, name: str) -> Cell:
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    if value is None:
        return UNKNOWN
    ends = "" if low is None or high is None else f" [{low:.4g}, {high:.4g}]"
    return Cell(f"{value:.4g}{ends}", repr(value), numeric=True)
