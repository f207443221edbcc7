"""Scores: the size measure of a record, s >= 0. One function each, chosen by name.

To add one: a function of a `View` that returns n numbers, and an entry in `SCORES`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from spark_jobs.selection import histogram, tasks
from spark_jobs.selection.arrays import Array


class Stats(NamedTuple):
    """What is known of all candidates of each model version; arrays by version code."""

    candidates: Array  # (G,)
    mean_loss: Array  # (G,), over matured records, of the losses as a score sees them
    positive: Array  # (G,) share of label 1 among matured records
    losses: Array  # (G, BINS) histogram of the losses of matured records, as a score sees them
    own_losses: Array  # (G, BINS) the same without the rows' own weights


NO_STATS = Stats(*(np.zeros(0) for _ in Stats._fields))


class View(NamedTuple):
    """What a score sees of n records."""

    task: str
    prediction: Array  # (n,) or (n, C)
    label: Array  # (n,)
    version: Array  # (n,)
    stats: Stats
    beta: float  # exponent of `loss-rank`
    row_weight: Array | None = None  # (n,), where losses and residuals are those of weighted rows

    def weighed(self, values: Array) -> Array:
        """Losses or gradients (n,) as those of the weighted rows."""
        return values if self.row_weight is None else self.row_weight * values


def one(view: View) -> Array:
    """1 for every record: a uniform sample."""
    return np.ones(view.label.size)


def residual_norm(view: View) -> Array:
    """|p - y|, ||softmax - onehot||, |yhat - y|: the bound on the norm of a row's gradient.

    Katharopoulos and Fleuret, "Not All Samples Are Created Equal", ICML 2018, section 3.2.
    """
    return view.weighed(tasks.residual_norm(view.task, view.prediction, view.label))


def loss(view: View) -> Array:
    """The loss itself: log loss in nats, or half the squared error."""
    return view.weighed(tasks.loss(view.task, view.prediction, view.label))


def loss_rank(view: View) -> Array:
    """CDF(loss)^beta among the records of the same model version.

    Jiang et al., "Accelerating Deep Learning by Focusing on the Biggest Losers", 2019, equation 1.
    """
    return histogram.rank(loss(view), view.version, view.stats.losses) ** view.beta


def above_mean(view: View) -> Array:
    """1 for a loss above the mean of its model version, 1 - r = 0.5 for one below.

    Qin et al., "InfoBatch", ICLR 2024, equation 3 with r = 0.5; scaled to the budget here.
    """
    return np.where(loss(view) > view.stats.mean_loss[view.version], 1.0, 0.5)


def rare_label(view: View) -> Array:
    """1 for positives; for negatives r = positives / negatives, at most 1: half the budget each."""
    positive = view.stats.positive[view.version]
    ratio = positive / np.maximum(1.0 - positive, 1e-12)
    return np.where(view.label == 1.0, 1.0, np.clip(ratio, 1e-6, 1.0))


def entropy(view: View) -> Array:
    """Entropy of the predicted class in nats; looks at no label (Settles 2009, section 3.1)."""
    return tasks.entropy(view.task, view.prediction)


def margin(view: View) -> Array:
    """1 - (p1 - p2), of the two likeliest classes; looks at no label (Settles 2009, 3.1)."""
    return 1.0 - tasks.margin(view.task, view.prediction)


def smallness(view: View) -> Array:
    """1 / (1 + loss): large where the loss is small."""
    return 1.0 / (1.0 + loss(view))


CLASSES = ("binary", "multiclass")


@dataclass(frozen=True)
class Score:
    """A score, the tasks that it is defined for, and what it looks at beyond the prediction."""

    of: Callable[[View], Array]
    tasks: tuple[str, ...] = tasks.TASKS
    needs_label: bool = True
    needs_stats: bool = False


SCORES: dict[str, Score] = {
    "one": Score(one, needs_label=False),
    "residual-norm": Score(residual_norm),
    "loss": Score(loss),
    "loss-rank": Score(loss_rank, needs_stats=True),
    "above-mean": Score(above_mean, needs_stats=True),
    "rare-label": Score(rare_label, ("binary",), needs_stats=True),
    "entropy": Score(entropy, CLASSES, needs_label=False),
    "margin": Score(margin, CLASSES, needs_label=False),
    "smallness": Score(smallness),
}


def score_of(name: str, view: View, matured: Array) -> Array:
    """The score of each record, shape (n,).

    A record whose label has not matured gets the expectation of the score over the model's own
    prediction, which looks at no label: binary E|p - y| = 2 p (1 - p).
    """
    score = SCORES[name]
    sizes = score.of(view)
    if score.needs_label and not matured.all():
        waiting = ~matured
        part = view._replace(
            prediction=view.prediction[waiting],
            label=view.label[waiting],
            version=view.version[waiting],
            row_weight=None if view.row_weight is None else view.row_weight[waiting],
        )
        sizes = sizes.copy()
        sizes[waiting] = _expected(score, part)
    return sizes


def _expected(score: Score, view: View) -> Array:
    p = tasks.class_probabilities(view.task, view.prediction)
    by_class = [
        score.of(view._replace(label=np.full(view.label.size, float(c)))) for c in range(p.shape[1])
    ]
    return (p * np.stack(by_class, axis=1)).sum(axis=1)
