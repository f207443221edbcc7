"""What a refresh may cost, and what pays for it: pinned in its manifest."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Allowance:
    """Forward passes, and the backward passes that are planned for them.

    A forward pass is an instance that has a record, counted in the first refresh of a policy whose
    input holds it. predecessor: the refresh from whose input on they are counted; None for the
    first. backward_passes: drawn rows x epochs x pulls. carried: what is left of the budget below
    one row, in backward passes, for the next refresh.
    """

    forward_passes: int
    predecessor: str | None
    backward_passes: int
    epochs: int
    pulls: int
    carried: float = 0.0

    def for_rows(self, drawn: int) -> "Allowance":
        """The same with the backward passes that so many drawn rows plan."""
        return replace(self, backward_passes=drawn * self.epochs * self.pulls)
