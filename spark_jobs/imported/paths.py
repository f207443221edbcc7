"""Where a value stands in a row of somebody else's log: `response.predictions[].score`.

    path = step { "." step }
    step = name { "[" [ digits ] "]" }
    name = characters other than . [ ] and ", or any in quotes, where "" is one quote

The first name is a column. `[2]` is the third entry of a list; `[]` is each entry: the row is then
many forward passes. JSON in a string is gone into as if it were not in one.
"""

import re
from typing import NamedTuple

_NAME = re.compile(r'"((?:[^"]|"")+)"|([^.\[\]"]+)')
_PLACE = re.compile(r"\[([0-9]*)\]")


class Each(NamedTuple):
    """`[]`: every entry of a list."""


Step = str | int | Each
EACH = Each()


class Path(NamedTuple):
    """A column and the way from there: keys, places in lists, and at most once each entry."""

    text: str
    column: str
    steps: tuple[Step, ...]

    @property
    def many(self) -> bool:
        """Whether it leads to many values of a row."""
        return EACH in self.steps

    @property
    def parts(self) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
        """The steps to the list, and those from each of its entries; all and none where one value
        is meant."""
        if not self.many:
            return self.steps, ()
        at = self.steps.index(EACH)
        return self.steps[:at], self.steps[at + 1 :]


def parse(text: str) -> Path:
    """Text as a path. Raises ValueError, which says where it is none."""
    names_and_places: list[Step] = []
    at = 0
    while True:
        name = _NAME.match(text, at)
        if name is None:
            raise ValueError(f"no name at character {at + 1} of {text!r}")
        names_and_places.append(name[2] if name[1] is None else name[1].replace('""', '"'))
        at = name.end()
        while place := _PLACE.match(text, at):
            names_and_places.append(int(place[1]) if place[1] else EACH)
            at = place.end()
        if at == len(text):
            break
        if text[at] != ".":
            raise ValueError(
                f"{text[at]!r} at character {at + 1} of {text!r}, where . or [] may be"
            )
        at += 1
    column, *steps = names_and_places
    if steps.count(EACH) > 1:
        raise ValueError(f"{text!r} has [] more than once, and a row is many in one way alone")
    return Path(text, str(column), tuple(steps))
