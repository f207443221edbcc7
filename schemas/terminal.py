"""A command's result as tables, for a person at a terminal; elsewhere it is one line of JSON."""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

JSON = "--json"
SHORT = 12  # characters of a digest that tell it from others
MOST = 50  # rows of a table; the JSON has them all
WIDE = 16  # columns; of rows with more, each is a table of its own


def looked_on(argv: Sequence[str]) -> bool:
    """Whether a person looks on, who did not ask for JSON."""
    return sys.stdout.isatty() and JSON not in argv


def show(result: Mapping[str, Any]) -> None:
    """Print a result's single values as one table, and each list of rows as another."""
    from rich.console import Console  # late: of all commands' output only this needs it

    console = Console()
    single, lists = apart(result)
    if single:
        console.print(_table(("", ""), single.items(), title=None))
    for name, rows in lists.items():
        columns = list(dict.fromkeys(column for row in rows for column in row))
        if len(columns) > WIDE:
            for number, row in enumerate(rows[:MOST], 1):
                console.print(f"{name} {number}")
                console.print(_table(("", ""), apart(row)[0].items(), title=None))
        else:
            lines = ([row.get(column) for column in columns] for row in rows[:MOST])
            console.print(_table(columns, lines, title=name))
        if len(rows) > MOST:
            console.print(f"... and {len(rows) - MOST:,} rows more; {JSON} has them all.")


def apart(
    result: Mapping[str, Any], prefix: str = ""
) -> tuple[dict[str, Any], dict[str, list[Mapping[str, Any]]]]:
    """The single values by dotted name, and the lists of rows; what is empty is left out."""
    single: dict[str, Any] = {}
    lists: dict[str, list[Mapping[str, Any]]] = {}
    for key, value in result.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            below, more = apart(value, f"{name}.")
            single |= below
            lists |= more
        elif _is_rows(value):
            lists[name] = list(value)
        elif value not in (None, [], ""):
            single[name] = value
    return single, lists


def cell(name: str, value: Any) -> str:
    """A value in few characters."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.6g}"
        case str() if name.endswith("digest"):
            return value[:SHORT]
        case Mapping() if "status" in value:  # of a step of a day
            return str(value["status"])
        case Mapping():
            return ", ".join(f"{key} {cell(key, one)}" for key, one in value.items())
        case list() | tuple():
            return ", ".join(cell(name, one) for one in value)
    return str(value)


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(r, Mapping) for r in value)


def _table(columns: Sequence[str], rows: Any, title: str | None) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.SIMPLE, show_header=title is not None)
    lines = [list(row) for row in rows]
    for place, name in enumerate(columns):
        numbers = all(isinstance(line[place], int | float | None) for line in lines)
        right = numbers and title is not None and not isinstance(lines[0][place], bool)
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for line in lines:
        names = columns if title is not None else (line[0], line[0])
        table.add_row(*(Text(cell(n, v)) for n, v in zip(names, line, strict=True)))
    return table
