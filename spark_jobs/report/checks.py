"""The figures of a report that decide whether its sample is sound, each with a plain verdict."""

from collections.abc import Mapping
from typing import Any

from spark_jobs.report import data_checks
from spark_jobs.report.tables import DASH, MINUS, Check, column_name, percent
from spark_jobs.selection.designs import DESIGNS

Report = Mapping[str, Any]

LARGEST_Z = 4.0  # standard deviations: chance goes beyond in 1 sound sample of 16,000
LEAST_EFFECTIVE = 0.5  # of the budget
LARGEST_CALIBRATION_GAP = 0.05  # of the root mean square of the column
DUE_ROWS = 5.0  # a level that the budget owes this many rows is drawn from, but for 1 in 150
LARGEST_VARIANCE_RATIO = 1.05  # above 1 by more than rounding: uniform would have done better


def checks(report: Report) -> list[Check]:
    """The figures that the report has: of the data that it was drawn from, six of any sample that
    was scored, what it costs, and what its rows stand for where that is not as usual."""
    verdicts = (
        data_checks.coverage(report),
        data_checks.labels(report),
        data_checks.faults(report),
        data_checks.freshness(report),
        _stands_for(report),
        _size(report),
        _mean_loss(report),
        _effective(report),
        _calibration(report),
        _coverage(report),
        _variance(report),
        _backward(report),
    )
    return [check for check in verdicts if check is not None]


def _verdict(good: bool) -> str:
    return "good" if good else "warning"


def _stands_for(report: Report) -> Check | None:
    """Whether the weighted rows are an estimate of all candidates, where there is a doubt."""
    many, biased = report.get("in_sample"), report.get("biased_by_design")
    if not (many or biased):
        return None
    known = (
        f"The models that answered {many:,} candidates may have learnt from them." if many else ""
    )
    if biased:
        return Check("Stands for", "not all candidates", "warning", f"{biased} {known}".strip())
    weights = (
        "So all rows are weighted by 1/π, which is right whatever a record knows, and not by an"
        " offset."
        if report["policy"]["weighting"] == "inverse"
        else "No weight hangs on what they answered."
    )
    return Check("Stands for", "all candidates", "good", f"{known} {weights}")


def _size(report: Report) -> Check:
    k, drawn = report["budget"], report["drawn"]
    design = DESIGNS.get(report.get("policy", {}).get("design", ""))
    if design is None or design.fixed_size:
        good = drawn == k
        promise = f"exactly the budget of {k:,} rows"
        sentence = f"The draw gave {promise}." if good else f"The design draws {promise}."
    else:
        good = abs(drawn - k) <= LARGEST_Z * k**0.5
        far = "within" if good else "more than"
        sentence = f"{far} four standard deviations of the budget, whose size this design varies."
        sentence = sentence[0].upper() + sentence[1:]
    return Check("Rows drawn", f"{drawn:,} of {k:,}", _verdict(good), sentence)


def _mean_loss(report: Report) -> Check | None:
    if "mean_loss_gap_z" not in report:
        return None
    z = report["mean_loss_gap_z"]
    means = (
        f"{report['mean_loss_estimate']:.4g} by the drawn rows, {report['mean_loss']:.4g} in all"
    )
    good = abs(z) <= LARGEST_Z
    if good:
        sentence = f"Weighted mean loss {means}: a difference that chance explains."
    elif report.get("biased_by_design"):
        sentence = f"Mean loss {means}. {report['biased_by_design']}"
    elif report["design_exact"]:
        sentence = f"Weighted mean loss {means}, too far apart for chance (|z| above 4)."
    else:
        sentence = f"Mean loss {means}; this design promises no unbiased sample."
    return Check("Mean-loss gap", f"z = {z:+.2f}".replace("-", MINUS), _verdict(good), sentence)


def _effective(report: Report) -> Check | None:
    if "effective_sample_size" not in report:
        return None
    size, k = report["effective_sample_size"], report["budget"]
    # A uniform draw leaves what the rows' own weights leave of all candidates.
    own = report.get("row_weight", {}).get("effective_share", 1.0)
    good = size >= LEAST_EFFECTIVE * k * own
    share = f"{percent(size / k)} of the budget"
    most = f" of the {percent(own)} that the rows' own weights leave of all" if own < 1.0 else ""
    sentence = (
        f"Unequal weights leave {share}; at least half{most} is good."
        if good
        else f"Unequal weights leave {share}, less than half{most}."
    )
    if report["max_weight"] == report["mean_weight"]:
        sentence = f"All weights are equal: {share}." if good else sentence
    return Check("Effective rows", f"{size:,.0f}", _verdict(good), sentence)


def _calibration(report: Report) -> Check | None:
    if "calibration" not in report:
        why = "Not part of this policy: its weights are used as they are."
        return Check("Calibration gap", DASH, "none", why) if "policy" in report else None
    calibrated = report["calibration"]
    gap = calibrated["largest_relative_gap"]
    totals, of = (
        f"{calibrated['columns']} known totals",
        f"“{column_name(report, calibrated['largest_gap_column'])}”",
    )
    good = gap <= LARGEST_CALIBRATION_GAP
    sentence = (
        f"Weights reproduce {totals}; the worst is {of}, and up to 5 % of its spread is good."
        if good
        else f"Of {totals}, {of} is missed by more than 5 % of its spread."
    )
    return Check("Calibration gap", percent(gap, 2), _verdict(good), sentence)


def missed(report: Report) -> list[str]:
    """Levels without a drawn row though the budget owes them at least five."""
    share = report["budget"] / report["candidates"]
    return [
        f"{line['segment']} = {line['level']}"
        for line in report.get("segments", ())
        if line["drawn"] == 0 and line["candidates"] * share >= DUE_ROWS
    ]


def _coverage(report: Report) -> Check | None:
    if "segments" not in report:
        return None
    levels = len(report["segments"])
    if levels == 0:
        return Check("Segments missed", DASH, "none", "The records have no segment keys.")
    names = missed(report)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    sentence = (
        f"No row was drawn of {', '.join(names[:3])}{more}."
        if names
        else "Each level that the budget owes five rows or more was drawn from."
    )
    return Check("Segments missed", f"{len(names)} of {levels}", _verdict(not names), sentence)


def _backward(report: Report) -> Check | None:
    """What the sample costs, against the forward passes that pay for it."""
    paid = report.get("ledger")
    if paid is None:
        return None
    forward, planned = paid["forward_passes"], paid["backward_passes"]
    since = f"since {paid['predecessor']}" if paid["predecessor"] else "of the whole window"
    a_row = paid["epochs"] * paid["pulls"]
    times = "once each" if a_row == 1 else f"{a_row} times each"
    sentence = f"{report['drawn']:,} rows, {times}, for {forward:,} new forward passes {since}."
    value = f"{planned:,}" if not forward else f"{planned / forward:.3g} a forward pass"
    return Check("Backward passes planned", value, "counted", sentence)


def _variance(report: Report) -> Check | None:
    if "variance_ratio" not in report:
        return None
    ratio = report["variance_ratio"]
    if not report["design_exact"]:
        why = "This design promises no probabilities that it could be computed from."
        return Check("Variance ratio", DASH, "none", why)
    good = ratio <= LARGEST_VARIANCE_RATIO
    what = "variance of the weighted gradient, against a uniform draw of the same size"
    sentence = (
        f"Estimated {what}: below 1 is better, 1 is equal."
        if good
        else f"Estimated {what}, is above 1: uniform would serve better."
    )
    return Check("Variance ratio", f"{ratio:.2f}", _verdict(good), sentence)
