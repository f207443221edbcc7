"""The learning rate over a fit, and when it ends: pure functions of what is behind.

The rate always decays to 0. Without `training.patience` that is a cosine over all epochs. With it
the rate is held until the validation loss has not improved for so many epochs, and then decays
along a cosine over a last fifth of the epochs: a fit that stops early is as settled as one that
does not.
"""

import math
from collections.abc import Sequence

from schemas.sections.training import Training


def decay_starts(validation: Sequence[float], settings: Training) -> int:
    """The epoch (from 0) with which the rate begins to decay, as far as these validation losses of
    the epochs behind say: an epoch that may never come, or one that is past."""
    if settings.patience is None:
        return 0
    latest = settings.epochs - _decaying(settings)
    best, since = math.inf, 0
    for epoch, loss in enumerate(validation[:latest], 1):
        best, since = (loss, 0) if loss < best else (best, since + 1)
        if since == settings.patience:
            return min(epoch, latest)
    return latest


def last_epoch(validation: Sequence[float], settings: Training) -> int:
    """The number of epochs that the fit has, as far as these validation losses say."""
    return min(settings.epochs, decay_starts(validation, settings) + _decaying(settings))


def rate(done: float, validation: Sequence[float], settings: Training) -> float:
    """The learning rate after so many epochs, the begun one in part."""
    begun = done - decay_starts(validation, settings)
    return settings.learning_rate * cosine(max(0.0, begun) / _decaying(settings))


def cosine(done: float) -> float:
    """Share of the learning rate: 1 at the first step, 0 just after the last."""
    return 0.5 * (1 + math.cos(math.pi * done))


def _decaying(settings: Training) -> int:
    """The epochs over which the rate decays."""
    return settings.epochs if settings.patience is None else math.ceil(settings.epochs / 5)
