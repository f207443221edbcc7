"""The verdicts of a card on the data that a refresh was drawn from: coverage, labels, faults."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from schemas import findings
from schemas.sections.section import parse_duration
from spark_jobs.candidates.coverage import Short, share, without_label, without_record
from spark_jobs.report.tables import Check, Grid, count, percent, words
from spark_jobs.report.tables import share as share_cell

Report = Mapping[str, Any]
NAMED = 3  # days or ids in a sentence


def overall(report: Report) -> float | None:
    """The share of all instances that have a record, where they have been counted."""
    if "coverage" not in report:
        return None
    days = [day for day in report["coverage"]["days"] if not day["bootstrapped"]]
    return share(sum(day["recorded"] for day in days), sum(day["instances"] for day in days))


def coverage(report: Report) -> Check | None:
    """Whether each day's instances have their records."""
    if "coverage" not in report:
        return None
    days, limits = report["coverage"]["days"], report["coverage"]["limits"]
    asked = [day for day in days if not day["bootstrapped"]]
    have, of = (sum(day[name] for day in asked) for name in ("recorded", "instances"))
    short, least = without_record(days, limits), percent(limits["coverage"])
    sentence = (
        f"Too few instances have a record on {_days(short)}; at least {least} of each day's should"
        " (check.coverage)."
        if short
        else f"Of each day's instances at least {least} have a record."
    )
    return Check("Coverage", _value(have, of), "warning" if short else "good", sentence)


def labels(report: Report) -> Check | None:
    """Whether the records of each day have their labels."""
    if "coverage" not in report:
        return None
    days, limits = report["coverage"]["days"], report["coverage"]["limits"]
    have, of = (sum(day[name] for day in days) for name in ("labelled", "records"))
    short = without_label(days, limits, date.fromisoformat(report["coverage"]["ds"]))
    least = limits["label_coverage"]
    asked = "half as many as of a later day should" if least is None else f"{percent(least)} should"
    sentence = (
        f"Too few records have a matured label on {_days(short)}; at least {asked}."
        if short
        else "No day's records have far fewer matured labels than they should."
    )
    return Check("Labels", _value(have, of), "warning" if short else "good", sentence)


def freshness(report: Report) -> Check | None:
    """Whether the newest row of each view is young enough."""
    if not report.get("freshness"):
        return None
    stale = [
        f"{one['view']} end {_minute(one['newest'])}, over {one['limit']} before the newest"
        f" instance, {_minute(one['at'])}"
        for one in report["freshness"]
        if datetime.fromisoformat(one["at"]) - datetime.fromisoformat(one["newest"])
        > parse_duration(one["limit"])
    ]
    views = len(report["freshness"])
    sentence = (
        f"The features of {'; '.join(stale)}."
        if stale
        else "The newest row of each view that has a limit is younger than that."
    )
    return Check("Views fresh", f"{views - len(stale)} of {views}", _status(not stale), sentence)


def _minute(moment: str) -> str:
    return moment[:16].replace("T", " ")


def _status(good: bool) -> str:
    return "good" if good else "warning"


def faults(report: Report) -> Check | None:
    """What is wrong with instances, labels and times, in so few rows that the refresh was made."""
    if "data" not in report:
        return None
    found = report["data"]
    rows = sum(one["rows"] for one in found.values())
    if not found:
        why = "Ids, dates and times of instances, records and labels agree."
        return Check("Faults of the data", "0 rows", "good", why)
    told = (
        f"{one['rows']:,} {findings.KINDS[kind].says} ({', '.join(one['ids'][:NAMED])})"
        for kind, one in found.items()
    )
    harmful = any(findings.KINDS[kind].severity == "error" for kind in found)
    status = "warning" if harmful else "counted"
    return Check("Faults of the data", f"{rows:,} rows", status, f"{'; '.join(told)}.")


def by_day(report: Report) -> Grid | None:
    """Coverage, a line a day."""
    if "coverage" not in report:
        return None
    head = ("day", "instances", "with a record", "share", "records drawn from", "labelled", "share")
    rows = [
        [
            words(day["day"] + (" (bootstrapped)" if day["bootstrapped"] else "")),
            count(day["instances"]),
            count(day["recorded"]),
            share_cell(share(day["recorded"], day["instances"])),
            count(day["records"]),
            count(day["labelled"]),
            share_cell(share(day["labelled"], day["records"]) if day["records"] else None),
        ]
        for day in report["coverage"]["days"]
    ]
    return Grid(head, rows)


def _value(have: int, of: int) -> str:
    return percent(share(have, of), 1) if of else "none"


def _days(short: Sequence[Short]) -> str:
    more = f" and {len(short) - NAMED} more days" if len(short) > NAMED else ""
    return "; ".join(map(str, short[:NAMED])) + more
