"""The ends of a confidence interval for a sum over drawn rows, also where few of them matter.

Estimate +- 1.96 standard errors misses where contributions are skewed or few: a sample without the
rare large rows has a low estimate and a small standard error as well. So each end is the farthest
of three: Student's t with the degrees of freedom that the contributions have (Satterthwaite,
Biometrics Bulletin 1946); the transformation that removes their skewness (Hall, "On the removal of
skewness by transformation", JRSS B 1992, equation 3.2); and the first again with the skewness of
Johnson (JASA 1978), one more row like the largest on that side counted in, as Clopper and Pearson's
interval counts one more success. What rests on r rows is then widened by 2 / r: found by simulation
(`python -m benchmarks.coverage`), 2 % where a hundred rows bear the error.
"""

import math
from typing import NamedTuple

import numpy as np

from spark_jobs.estimation.student import student_quantile
from spark_jobs.selection.arrays import Array

_WIDER = 2.0


class ErrorMoments(NamedTuple):
    """Of the contributions to an estimate's error: sums of squares, cubes and fourth powers."""

    square: float
    cube: float
    fourth: float

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the variance; twice the number of rows where all are alike."""
        return max(2 * self.rests_on, 1.0)

    @property
    def rests_on(self) -> float:
        """Rows, as many as would give this variance if all were alike."""
        return self.square**2 / self.fourth if self.fourth > 0 else 0.0


def moments_of(parts: Array, cube: float) -> ErrorMoments:
    """parts (n,): each drawn row's contribution to the standard error, with its sign, the sum of
    whose squares is the variance. cube: the third central moment of the estimate."""
    return ErrorMoments(float((parts**2).sum()), cube, float((parts**4).sum()))


def ends(parts: Array, moments: ErrorMoments, confidence: float) -> tuple[float, float]:
    """How far the interval reaches below and above the estimate, both at least 0."""
    if moments.square == 0.0:
        return 0.0, 0.0
    probability, wider = (1 + confidence) / 2, 1 + _WIDER / moments.rests_on
    below = _reach(moments._replace(cube=-moments.cube), -float(parts.min()), probability)
    above = _reach(moments, float(parts.max()), probability)
    return wider * below, wider * above


def _reach(moments: ErrorMoments, largest: float, probability: float) -> float:
    """Above the estimate; largest: the largest contribution on that side."""
    error = math.sqrt(moments.square)
    q = student_quantile(probability, moments.freedom)
    reach = q * error
    skew = moments.cube / error**3
    if skew > 1e-9:
        # Hall's g(t) = t + skew t^2 / 3 + skew^2 t^3 / 27 + skew / 6, inverted at -q.
        root = np.cbrt(1 - skew * (q + skew / 6))
        reach = max(reach, error * 3 / skew * (1 - float(root)))
    largest = max(largest, 0.0)
    more = ErrorMoments(
        moments.square + largest**2, moments.cube + largest**3, moments.fourth + largest**4
    )
    q, error = student_quantile(probability, more.freedom), math.sqrt(more.square)
    shift = more.cube / error**3 * (2 * q * q + 1) / 6
    return max(reach, error * (q + min(max(shift, 0.0), 3 * q)))
