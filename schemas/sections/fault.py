"""One fault of a pipeline file, a command line or a warehouse: field, value, problem and remedy."""

import json
import math
from datetime import date
from typing import Any, NamedTuple

LONGEST = 80  # characters of a value that a message shows


class Fault(NamedTuple):
    """What is wrong with one setting. The value is None where there is none, as of a missing one.

    problem and remedy are sentences without their full stops.
    """

    field: str
    value: Any
    problem: str
    remedy: str

    def __str__(self) -> str:
        """One line; the value stands in it once, so not before a problem that names it."""
        told = shown(self.value)
        named = told is None or told in self.problem or repr(self.value) in self.problem
        head = self.field if named else f"{self.field} = {told}"
        return f"{head}: {self.problem}. Remedy: {self.remedy}."

    def within(self, *places: str) -> "Fault":
        """The fault of a field that lies in a section."""
        return self._replace(field=".".join(filter(None, (*places, self.field))))

    def as_dict(self) -> dict[str, Any]:
        """For the JSON result."""
        return self._asdict() | {"value": _plain(self.value), "message": str(self)}


class Wrong(ValueError):
    """What a validator raises: the faults that it found, their fields seen from its section."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(
            "\n".join(f"{f.field}: {f.problem}" if f.field else f.problem for f in faults)
        )
        self.faults = faults


def shown(value: Any) -> str | None:
    """A value as the file has it, in short; None where there is nothing to show, as of a table."""
    if value is None or isinstance(value, dict):
        return None
    if isinstance(value, str | bool):
        text = json.dumps(value, ensure_ascii=False)
    elif isinstance(value, list | tuple):
        parts = [shown(part) for part in value]
        text = f"[{', '.join('a table' if part is None else part for part in parts)}]"
    else:
        text = str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def _plain(value: Any) -> Any:
    """A value as JSON can carry it: no table, no date, no number that is not finite."""
    if isinstance(value, dict):
        return None
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, date) or (isinstance(value, float) and not math.isfinite(value)):
        return str(value)
    return value
