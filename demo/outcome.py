"""What the weeks of an arm come to, and how far two arms are apart: numbers and words."""

from collections.abc import Sequence
from math import sqrt

import numpy as np
from scipy.stats import t as students_t

from demo.twins import Week
from trainer.promotion.intervals import Interval

CONFIDENCE = 0.95


def mean_loss(weeks: Sequence[Week]) -> float:
    """Log loss over all flights of the weeks after: each week weighs its flights."""
    return float(np.average([week.loss for week in weeks], weights=[w.flights for w in weeks]))


def difference(own: Sequence[Sequence[Week]], other: Sequence[Sequence[Week]]) -> Interval:
    """Mean over the seeds of own - other, a closed loop each, with its Student interval.

    It tells what another draw and another shuffle would change on these weeks, and nothing of other
    weeks. At least two seeds, the same of both.
    """
    apart = np.array(
        [mean_loss(a) - mean_loss(b) for a, b in zip(own, other, strict=True)], np.float64
    )
    mean, error = float(apart.mean()), float(apart.std(ddof=1)) / sqrt(len(apart))
    reach = float(students_t.ppf((1 + CONFIDENCE) / 2, len(apart) - 1)) * error
    return Interval(mean, mean - reach, mean + reach)


def verdict(name: str, apart: Interval) -> str:
    """In words: whether the policy beat uniform by more than seeds explain."""
    if apart.high < 0:
        return f"On these weeks {name} beat uniform at the same backward passes."
    if apart.low > 0:
        return (
            f"On these weeks {name} did NOT beat uniform at the same backward passes: it was worse."
        )
    return (
        f"On these weeks {name} did NOT beat uniform at the same backward passes: the interval has"
        " 0 in it."
    )
