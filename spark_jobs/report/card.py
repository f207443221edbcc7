"""The report card of a refresh: one HTML file that a person reads at a glance."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC
from functools import partial
from typing import Any, NamedTuple

from markupsafe import Markup
from matplotlib.figure import Figure

from schemas.manifests import REPORT_CARDS, Manifest
from spark_jobs.report import data_checks, plots, tables
from spark_jobs.report.checks import checks
from spark_jobs.report.pages import read_page, rendered, write_page
from spark_jobs.storage.warehouse import Warehouse

FOLDED = 8  # rows; a longer table under a plot is folded

Report = Mapping[str, Any]


class Panel(NamedTuple):
    """A plot, what it says, and its numbers; shown where the report has `needs`."""

    needs: str
    title: str
    sentence: str
    plot: Callable[[Report], Figure]
    table: Callable[[Report], tables.Grid]
    wide: bool = False


PANELS = (
    Panel(
        "drawn",
        "Rows, and what they are worth",
        "The more unequal the weights, the fewer rows the sample is worth.",
        plots.effective,
        tables.rows,
    ),
    Panel(
        "top_loss_rows",
        "The hardest rows",
        "How many of the 1 % largest losses are drawn, next to all candidates.",
        plots.top_losses,
        tables.top_losses,
    ),
    Panel(
        "score_quantiles",
        "Scores",
        "Where the drawn rows lie to the right of all, high scores are preferred.",
        plots.score_quantiles,
        tables.quantiles,
    ),
    Panel(
        "loss_distribution",
        "Losses",
        "The losses of all candidates; the next refresh's drift is measured against these shares.",
        plots.loss_distribution,
        tables.loss_distribution,
    ),
    Panel(
        "calibration",
        "Calibration",
        "How far the weighted rows are from totals known of all candidates; the largest gaps.",
        plots.calibration,
        tables.calibration,
    ),
    Panel(
        "segments",
        "Segments",
        "The share of each level among all candidates and among the drawn rows.",
        plots.segments,
        tables.segments,
        wide=True,
    ),
    Panel(
        "ages",
        "Age of the scores",
        "Days from a row's event to the newest event of the window.",
        plots.ages,
        partial(tables.groups, name="ages", title="days"),
    ),
    Panel(
        "versions",
        "Model versions",
        "Whose forward passes the scores are from.",
        plots.versions,
        partial(tables.groups, name="versions", title="version"),
    ),
)


def render(report: Report) -> str:
    """The page of a manifest's report; a bootstrap refresh's has few numbers and gets few parts."""
    verdicts = checks(report)
    return rendered(
        "card.html",
        report=report,
        policy=_policy(report),
        checks=verdicts,
        warnings=sum(check.status == "warning" for check in verdicts),
        panels=[_shown(panel, report) for panel in PANELS if _has(report, panel.needs)],
        sizes=tables.sizes(report),
        losses=tables.losses(report),
        coverage=data_checks.by_day(report),
        largest_losses=tables.largest_losses(report),
        mixture=tables.mixture(report) if "mixture" in report else None,
        lineage=tables.lineage(report),
        folded=FOLDED,
    )


def _has(report: Report, name: str) -> bool:
    if name == "score_quantiles":
        return bool(report.get(name, {}).get("all"))
    return name in report and report[name] not in ([], {})


def _shown(panel: Panel, report: Report) -> dict[str, Any]:
    """What the template shows of a panel. The plot's text is escaped by matplotlib."""
    label = f"{panel.title}. {panel.sentence}"
    return {
        "title": panel.title,
        "sentence": panel.sentence,
        "plot": Markup(plots.svg(panel.plot, report, label)),
        "table": panel.table(report),
        "wide": panel.wide,
    }


def _policy(report: Report) -> str:
    """The policy in a line."""
    policy = report.get("policy")
    if policy is None:
        return "Bootstrap: every labelled row, before any model has scored one"
    parts = [
        f"score {policy['score']}",
        f"{policy['design']} design",
        f"floor {policy['floor']:g}" if policy["floor"] else "",
        "weights of 1" if policy["weighting"] == "none" else f"{policy['weighting']} weighting",
        "calibrated" if policy["calibrated"] else "",
    ]
    line = f"Policy {policy['name']}: " + ", ".join(part for part in parts if part)
    biased = report.get("biased_by_design")
    return f"{line}. {biased}" if biased else line


def write_card(warehouse: Warehouse, manifest: Manifest) -> str:
    """Write the card of a refresh beside the tables; its path or URI."""
    place = _place(warehouse, manifest)
    write_page(place, render(_described(manifest)).encode())
    return place


def current_card(warehouse: Warehouse, manifest: Manifest) -> str:
    """The card of a refresh, written where a killed job left none, or an older one's."""
    place = _place(warehouse, manifest)
    current = manifest.created_at.isoformat().encode() in read_page(place)
    return place if current else write_card(warehouse, manifest)


def _place(warehouse: Warehouse, manifest: Manifest) -> str:
    return f"{warehouse.path(REPORT_CARDS)}/{manifest.refresh_id}.html"


def _described(manifest: Manifest) -> dict[str, Any]:
    """The report with all that the manifest knows of where the sample comes from."""
    inputs, decided = manifest.inputs, manifest.decided
    lineage = {
        "refresh_id": manifest.refresh_id,
        "window": [str(inputs.window_start), str(manifest.ds)],
        "seed": manifest.seed,
        "input_versions": inputs.versions,
        "sample_digest": manifest.sample_digest,
    }
    lines = {
        "pipeline": manifest.pipeline,
        "configuration digest": manifest.config_digest,
        "selection engine": None if decided is None else decided.engine,
        "labels as of": inputs.cut.astimezone(UTC).isoformat(),
        "sampled, version": manifest.sampled.version,
        "holdout, version": manifest.holdout.version,
        "held-out rows": manifest.counts.held_out,
        "rejected records": manifest.counts.rejected,
        "made at": manifest.created_at.isoformat(),
    }
    paid = {} if manifest.allowance is None else {"ledger": asdict(manifest.allowance)}
    return {**lineage, **manifest.report, **paid, "manifest": lines}
