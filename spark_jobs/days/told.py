"""What a backfill says of its days: the plan in lines, a day in the log, the table at the end."""

from typing import Any

_DUE = {
    True: "to select",
    False: "not due",
    None: "to select if due (decided when it is reached)",
}


# What a plan says of a day's records that are there, and of those that are not, by their source.
_RECORDS = {
    "score": ("scored", "to score"),
    "online": ("recorded", "no record has come"),
    "import": ("imported", "to import"),
}

IMPORT = "import-records"  # the step in place of `score` where records come from a log
RAN = ("done", "already done")
PASSED_OVER = "passed over"  # of a day from whose window nothing could be drawn


def plan_line(day: dict[str, Any]) -> str:
    """What a day has and lacks, in words."""
    there, lacking = _RECORDS[day["source"]]
    scored = there if day["scored"] else lacking
    if day["to_score"]:
        scored = f"{day['to_score']} to score"
    scored = "no traffic, to skip" if day["without_traffic"] else scored
    selected = "selected" if day["selected"] else _DUE[day["due"]]
    text = f"{day['ds']}: {day['instances']} instances, {scored}, {selected}{_rows(day)}"
    for reason in day["stale"]:
        text += f"; stale ({reason}), --force selects anew"
    others = ", ".join(day["other_configurations"])
    return f"{text}; selected under another configuration: {others}" if others else text


def _rows(day: dict[str, Any]) -> str:
    """The rows that a refresh has or will draw, where they were counted."""
    count, rows = day["candidates"], day["estimated_rows"]
    if count is None:
        return ""
    if rows is None:
        return f", a number of rows of {count} candidates that is not known yet"
    if day["refused"]:
        return ", to be refused: too many records cannot be used"
    spread = f" (give or take {day['give_or_take']})" if day["give_or_take"] else ""
    passed = "; to be passed over" if not count and not day["selected"] and day["due"] else ""
    return f", about {rows} rows{spread} of {count} candidates{passed}"


def line_of(entry: dict[str, Any]) -> str:
    """What became of a day, in words."""
    words = []
    came, word = _came(entry), "imported" if IMPORT in entry else "scored"
    if came.get("status") == "done":
        words.append(f"{word} {came['records']}")
    if _no_traffic(entry):
        words.append(f"skipped: {came['reason']}")
    if _not_due(entry):
        words += [f"{word} before"] if came.get("status") == "already done" else []
        words.append(f"not due: {entry['due']['reason']}")
    if entry.get("select", {}).get("status") == "nothing to do":
        words.append("the budget comes to no row")
    if _passed_over(entry):
        words.append(f"passed over: {entry['select']['reason']}")
    if entry.get("select", {}).get("status") == "done":
        words.append(f"drew {entry['select']['drawn']} of {entry['select']['candidates']}")
    if entry.get("train", {}).get("status") == "done":
        outcome = "promoted" if entry["train"]["promoted"] else "not promoted"
        words.append(f"version {entry['train']['version']} {outcome}")
    if "error" in entry:
        words.append(f"failed: {entry['error']}")
    return ", ".join(words) or "already done"


def _not_due(entry: dict[str, Any]) -> bool:
    return entry.get("due", {}).get("status") == "not due"


def _came(entry: dict[str, Any]) -> dict[str, Any]:
    """What became of the records of a day."""
    came: dict[str, Any] = entry.get(IMPORT) or entry.get("score", {})
    return came


def _no_traffic(entry: dict[str, Any]) -> bool:
    return bool(_came(entry).get("status") == "nothing to do")


def _passed_over(entry: dict[str, Any]) -> bool:
    return bool(entry.get("select", {}).get("status") == PASSED_OVER)


def summary_table(done: list[dict[str, Any]]) -> list[str]:
    """The days as a table: a line of headings, then one a day."""
    head = "imported" if any(IMPORT in day for day in done) else "scored"
    lines = [f"{'day':<10}  {head:>9}  {'candidates':>10}  {'drawn':>9}  {'model':>7}  gate"]
    for day in done:
        scored = _came(day)
        selected, trained = (day.get(name, {}) for name in ("select", "train"))
        gate = {True: "promoted", False: "not promoted", None: "-"}[trained.get("promoted")]
        gate = "not due" if _not_due(day) else gate
        gate = ("no record" if IMPORT in day else "no traffic") if _no_traffic(day) else gate
        gate = PASSED_OVER if _passed_over(day) else gate
        gate = "no row" if selected.get("status") == "nothing to do" else gate
        lines.append(
            f"{day['ds']!s:<10}  {_cell(scored, 'records'):>9}  {_cell(selected, 'candidates'):>10}"
            f"  {_cell(selected, 'drawn'):>9}  {_cell(trained, 'version'):>7}"
            f"  {day.get('error', gate)}"
        )
    return lines


def _cell(step: dict[str, Any], name: str) -> str:
    """A figure of a step; what a step that was done before does not tell is `done`."""
    return str(step.get(name, "done")) if step.get("status", "nothing to do") in RAN else "-"
