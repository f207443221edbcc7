"""Decides whether a challenger serves: a pure function of two sets of metrics and the rule."""

import math
from typing import NamedTuple

from schemas.training import Gate
from trainer.evaluate import Metrics


class Decision(NamedTuple):
    """The outcome and, in words, why."""

    passed: bool
    reason: str


def decide(challenger: Metrics, champion: Metrics | None, gate: Gate) -> Decision:
    """Compare on the same held-out rows; without a champion a sound challenger passes."""
    rows = int(challenger["rows"])
    if rows < gate.min_rows:
        return Decision(False, f"{rows} held-out rows, gate.min_rows is {gate.min_rows}")
    unsound = [name for name, value in challenger.items() if not math.isfinite(value)]
    if unsound:
        return Decision(False, f"not finite on the held-out rows: {', '.join(unsound)}")
    loss = challenger["loss"]
    if champion is None:
        return Decision(True, f"first model, loss {loss:.5f} on {rows} held-out rows")
    if champion["rows"] != challenger["rows"]:
        return Decision(False, f"measured on {rows} rows, the champion on {int(champion['rows'])}")
    if not math.isfinite(champion["loss"]):
        return Decision(True, f"loss {loss:.5f}, the champion's is not finite")
    limit = champion["loss"] + gate.max_loss_increase
    words = f"loss {loss:.5f}, champion {champion['loss']:.5f}, at most {limit:.5f} allowed"
    return Decision(loss <= limit, f"{words}, {rows} held-out rows")
