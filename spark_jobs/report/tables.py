"""The exact numbers of a report, as the tables of its card."""

import re
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any, NamedTuple

from schemas.reasons import REASONS

Report = Mapping[str, Any]

DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"


class Cell(NamedTuple):
    """What is shown; `exact` is the whole number behind it, where there is one."""

    text: str
    exact: str | None = None
    numeric: bool = False  # whether it stands in a column of numbers


class Check(NamedTuple):
    """One figure: what it is, its value, and one sentence on whether that is good."""

    title: str
    value: str
    status: str  # good, warning, none where the figure does not apply, counted without a verdict
    sentence: str


UNKNOWN = Cell(DASH, numeric=True)


class Grid(NamedTuple):
    """Column titles and rows of cells."""

    head: tuple[str, ...]
    rows: list[list[Cell]]


def words(value: object) -> Cell:
    """Text as it is; empty text is named, so that a reader sees it."""
    return Cell(str(value) or "(empty)")


def count(value: int | None) -> Cell:
    """A number of rows."""
    return UNKNOWN if value is None else Cell(f"{value:,}", str(value), numeric=True)


def number(value: float | None) -> Cell:
    """Five digits, and thousands in full; a dash where it is unknown."""
    if value is None or not isfinite(value):
        return UNKNOWN
    text = f"{value:,.1f}" if 1e4 <= abs(value) < 1e15 else f"{value:,.5g}"
    return Cell(text.replace("-", MINUS), repr(value), numeric=True)


def share(value: float | None) -> Cell:
    """A share as a percentage."""
    if value is None or not isfinite(value):
        return UNKNOWN
    return Cell(percent(value, 2), repr(value), numeric=True)


def percent(value: float, digits: int = 0) -> str:
    """A share in words."""
    return f"{100.0 * value:.{digits}f} %".replace("-", MINUS)


def _lines(lines: Iterable[tuple[str, Cell | None, str]]) -> Grid:
    rows = [[words(name), cell, words(meaning)] for name, cell, meaning in lines if cell]
    return Grid(("figure", "value", "meaning"), rows)


def sizes(report: Report) -> Grid:
    """How many rows, with which probabilities and weights."""
    get, n, k = report.get, report["candidates"], report["budget"]
    scale = report["drawn"] / k
    mean = get("mean_weight")
    rejects = get("rejects", {})
    known = "design_exact" in report
    promise = "yes" if get("design_exact") else "no"
    return _lines(
        [
            ("records", _if(report, "records", count), "in the window, hold-out left out"),
            (
                "unmatured records",
                _if(report, "unmatured_records", count),
                "of them, label not known yet",
            ),
            *((f"rejected, {why}", count(many), REASONS[why]) for why, many in rejects.items()),
            (
                "set aside",
                count(report["set_aside"]) if report.get("set_aside") else None,
                "instances with a record that were set aside, and are no candidates",
            ),
            ("N", count(n), "candidates"),
            ("stand for", _stand_for(report), _BY_CHANCE),
            (
                "in sample",
                _if(report, "in_sample", count),
                "of them, every record is of a model that may have learnt from them",
            ),
            ("k", count(k), "budget, rows"),
            ("k/N", share(k / n), "share that the budget pays for"),
            ("realised size", count(report["drawn"]), "rows drawn"),
            ("Σπ", number(report["sum_probability"]), "sum of the probabilities; k by law"),
            (
                "exact design",
                Cell(promise, numeric=True) if known else None,
                "whether it draws with exactly these π",
            ),
            ("minimum π", _if(report, "min_probability", number), "of all candidates"),
            ("Σw/N", None if mean is None else number(mean * scale), "w scaled by N/k; near 1"),
            ("mean weight", _if(report, "mean_weight", number), "of the drawn rows"),
            ("maximum weight", _if(report, "max_weight", number), "of the drawn rows"),
            *_row_weights(report.get("row_weight")),
            ("effective size", _if(report, "effective_sample_size", number), "(Σw)²/Σw², Kish"),
            ("design effect", _if(report, "design_effect", number), "drawn rows / effective size"),
            ("variance ratio", _if(report, "variance_ratio", number), "against uniform, estimated"),
            (
                "unmatured share",
                _if(report, "unmatured_share", share),
                "of the candidates: label provisional",
            ),
            (
                "unmatured drawn",
                _if(report, "unmatured_drawn", count),
                "of the drawn rows: label provisional",
            ),
        ],
    )


def _row_weights(own: Report | None) -> list[tuple[str, Cell | None, str]]:
    """What the rows themselves count for, where they have weights of their own."""
    if own is None:
        return []
    return [
        ("mean row weight", number(own["mean"]), "of all candidates, by labels.weight"),
        ("row weight 0", count(own["zero"]), "candidates that count for nothing"),
        ("effective share", share(own["effective_share"]), "that row weights leave of N, Kish"),
    ]


_BY_CHANCE = (
    "forward passes: a log kept these candidates by chance, or they were asked so for their label;"
    " the weights undo it"
)


def _stand_for(report: Report) -> Cell | None:
    each = report.get("stands_for", report["candidates"])
    return None if each == report["candidates"] else number(each)


def _if(report: Report, name: str, form: Any) -> Cell | None:
    return form(report[name]) if name in report else None


def losses(report: Report) -> Grid | None:
    """Mean loss of all and of the drawn rows, with gaps in standard deviations."""
    if "mean_loss" not in report:
        return None
    get = report.__getitem__
    gap = get("mean_loss_drawn") - get("mean_loss")
    each = "its own weight" if "row_weight" in report else "1"
    return _lines(
        [
            ("mean loss", number(get("mean_loss")), "all candidates"),
            (
                "weighted mean loss",
                number(get("mean_loss_estimate")),
                "drawn rows, weighted",
            ),
            ("weighted gap", number(get("mean_loss_gap")), "drawn less all; 0 in expectation"),
            ("weighted gap, z", number(get("mean_loss_gap_z")), "in standard deviations"),
            (
                "unweighted mean loss",
                number(get("mean_loss_drawn")),
                f"drawn rows, each counting {each}",
            ),
            ("unweighted gap", number(gap), "above 0: hard rows are preferred"),
            ("unweighted gap, z", number(get("mean_loss_drawn_z")), "in standard deviations"),
            (
                "residual gap",
                number(get("residual_gap")),
                "weighted mean, drawn less all",
            ),
            ("mean label", number(get("mean_label")), "all candidates"),
            ("mean label, drawn", number(get("mean_label_drawn")), f"each row counting {each}"),
        ],
    )


def rows(report: Report) -> Grid:
    """Budget, drawn and effective rows."""
    k = report["budget"]
    lines = [
        [words("budget"), count(k), share(1.0)],
        [words("drawn"), count(report["drawn"]), share(report["drawn"] / k)],
    ]
    if "effective_sample_size" in report:
        size = report["effective_sample_size"]
        lines.append([words("effective"), number(size), share(size / k)])
    return Grid(("size", "rows", "of the budget"), lines)


def top_losses(report: Report) -> Grid:
    """How many of the largest losses were drawn."""
    rows, drawn = report["top_loss_rows"], report["top_loss_drawn"]
    budget, n = report["budget"], report["candidates"]
    lines = [
        [words("top 1 % losses"), count(rows), count(drawn), share(drawn / max(rows, 1))],
        [words("budget"), count(n), count(budget), share(budget / n)],
    ]
    return Grid(("group", "candidates", "drawn", "share drawn"), lines)


def largest_losses(report: Report) -> Grid:
    """The candidates with the largest losses; none where the report has none."""
    rows = report.get("largest_losses", [])
    of_class = any("chance_of_label" in row for row in rows)
    meaning = "chance of the label" if of_class else "error"
    lines = [
        [
            words(row["instance_id"]),
            words(row["model_version"]),
            number(row["label"]),
            number(row["loss"]),
            number(row["chance_of_label" if of_class else "error"]),
            share(row["probability"]),
            words("yes" if row["drawn"] else "no"),
        ]
        for row in rows
    ]
    return Grid(("instance", "version", "label", "loss", meaning, "π", "drawn"), lines)


def quantiles(report: Report) -> Grid:
    """Score quantiles of all and of the drawn rows."""
    all_rows, drawn = report["score_quantiles"]["all"], report["score_quantiles"]["drawn"]
    levels = sorted({*all_rows, *drawn}, key=float)
    lines = [
        [words(percent(float(q))), number(all_rows.get(q)), number(drawn.get(q))] for q in levels
    ]
    return Grid(("quantile", "all", "drawn"), lines)


def loss_distribution(report: Report) -> Grid:
    """Share of the candidates in each bin of the loss, and where the bin ends."""
    losses = report["loss_distribution"]
    ends = [*map(number, losses["edges"]), words("no end")]
    lines = [[end, share(part)] for end, part in zip(ends, losses["shares"], strict=True)]
    return Grid(("loss below", "share"), lines)


def segments(report: Report) -> Grid:
    """Of each segment level: rows, shares, smallest probability, loss gap."""
    head = ("segment", "level", "all", "drawn", "share, all", "share, drawn", "min π", "loss gap")
    lines = [
        [
            words(line["segment"]),
            words(line["level"]),
            count(line["candidates"]),
            count(line["drawn"]),
            share(line["share"]),
            share(line["share_drawn"]),
            number(line["min_probability"]),
            number(line["loss_gap"]),
        ]
        for line in report["segments"]
    ]
    return Grid(head, lines)


def groups(report: Report, name: str, title: str) -> Grid:
    """Rows and shares by model version (`versions`) or by age in days (`ages`)."""
    n, drawn = max(report["candidates"], 1), max(report["drawn"], 1)
    lines = [
        [
            words(group),
            count(line["candidates"]),
            count(line["drawn"]),
            share(line["candidates"] / n),
            share(line["drawn"] / drawn),
        ]
        for group, line in report[name].items()
    ]
    return Grid((title, "all", "drawn", "share, all", "share, drawn"), lines)


def column_name(report: Report, column: str) -> str:
    """A calibration column with its segment key's own name: segments are listed in their order."""
    keys = list(dict.fromkeys(line["segment"] for line in report.get("segments", ())))
    match = re.fullmatch(r"(residual\d* x |)segment(\d+)(=.*|)", column, re.DOTALL)
    if match is None or int(match[2]) >= len(keys):
        return column
    return f"{match[1]}{keys[int(match[2])]}{match[3]}"


def calibration(report: Report) -> Grid:
    """Every total that the weights were calibrated on, the largest gap first."""
    calibrated = report["calibration"]
    relative = calibrated.get("relative_gaps", {})
    order = sorted(
        calibrated["gaps"], key=lambda name: -abs({**calibrated["gaps"], **relative}[name])
    )
    lines = [
        [
            words(column_name(report, name)),
            number(calibrated["gaps"][name]),
            share(relative.get(name)),
        ]
        for name in order
    ]
    left_out = (f"left out: {column_name(report, name)}" for name in calibrated["left_out"])
    lines += [[words(line), UNKNOWN, UNKNOWN] for line in left_out]
    return Grid(("total", "gap", "relative to its spread"), lines)


def mixture(report: Report) -> Grid:
    """Weight of each score of a mixture, now and for the next refresh."""
    weights = report["mixture"]
    lines = [
        [words(name), number(weight), number(weights["next"][name])]
        for name, weight in weights["used"].items()
    ]
    return Grid(("score", "weight in this refresh", "in the next"), lines)


def lineage(report: Report) -> Grid:
    """Where the sample comes from."""
    window = report.get("window", ())
    lines = [
        ("refresh", report.get("refresh_id")),
        ("window", " to ".join(window) or None),
        ("seed", report.get("seed")),
        ("sample digest", report.get("sample_digest")),
        *report.get("manifest", {}).items(),
        *((f"{table}, version", v) for table, v in report.get("input_versions", {}).items()),
    ]
    rows = [[words(name), Cell(str(value))] for name, value in lines if value is not None]
    return Grid(("what", "value"), rows)
