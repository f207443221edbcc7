"""One change of a migration, told before it is made."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Change(NamedTuple):
    """A change: where, what in words, and the function that makes it. Made twice it is as once."""

    where: str  # a table, or `registry`
    words: str
    make: Callable[[], object]

    def as_dict(self) -> dict[str, Any]:
        """For the JSON result."""
        return {"where": self.where, "change": self.words}
