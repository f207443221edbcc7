"""What a forward record keeps of a model with more than 16 outputs: 36 numbers, however many.

Of the logits z (C,) and p = softmax(z), in this order:

    classes        C itself
    log_partition  log sum exp z
    entropy        -sum p log p, in nats
    square         sum p^2
    top classes    the 8 likeliest classes, likeliest first
    top logits     their logits
    projection     P p, 16 numbers

P (16, C) is fixed: column c holds signs / 4 by a hash of c, so that any label's P e_y is known and,
once the label is, so is the projected residual P p - P e_y (Achlioptas, "Database-friendly random
projections", JCSS 2003).

Exact whatever the label: entropy, margin, the projected residual and every total over it. Exact for
a label among the 8 kept classes, else with the remaining probability spread evenly over the other
classes: the loss, the norm of the residual. Not to be had: the probability of each class.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

TOP = 8
PROJECTED = 16
CLASSES, LOG_PARTITION, ENTROPY, SQUARE = range(4)
TOP_CLASSES = slice(4, 4 + TOP)
TOP_LOGITS = slice(4 + TOP, 4 + 2 * TOP)
PROJECTION = slice(4 + 2 * TOP, 4 + 2 * TOP + PROJECTED)
WIDTH = PROJECTION.stop

_KEY = 20210414  # any constant, for ever: projections on storage must stay comparable

Floats = NDArray[np.float64]


def statistics(logits: NDArray[Any]) -> NDArray[np.float32]:
    """The statistics (n, 36) of logits (n, C), with C above 16."""
    z = np.asarray(logits, np.float64)
    top = np.argsort(-z, axis=1, kind="stable")[:, :TOP]
    kept = np.take_along_axis(z, top, axis=1)
    largest = kept[:, :1]
    e = np.exp(z - largest)
    total = e.sum(axis=1)
    p = e / total[:, None]
    log_partition = largest[:, 0] + np.log(total)
    out = np.empty((len(z), WIDTH), np.float32)
    out[:, CLASSES] = z.shape[1]
    out[:, LOG_PARTITION] = log_partition
    surprise = np.where(p > 0, z, 0.0)  # a class of logit -inf counts nothing
    out[:, ENTROPY] = log_partition - (p * surprise).sum(axis=1)
    out[:, SQUARE] = (p**2).sum(axis=1)
    out[:, TOP_CLASSES] = top
    out[:, TOP_LOGITS] = kept
    out[:, PROJECTION] = p @ directions(np.arange(z.shape[1]))
    return out


def summarised(prediction: NDArray[Any]) -> bool:
    """Whether predictions are statistics, and not logits, of which there are at most 16."""
    return prediction.ndim == 2 and prediction.shape[1] == WIDTH


def directions(classes: NDArray[Any]) -> Floats:
    """P e_c of each class (n, 16): signs / 4, by SplitMix64 of the class (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        x = classes.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(_KEY)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    bits = (x[:, None] >> np.arange(PROJECTED, dtype=np.uint64)) & np.uint64(1)
    return (bits.astype(np.float64) * 2 - 1) / np.sqrt(PROJECTED)


def chance_of(kept: NDArray[Any], label: NDArray[Any]) -> Floats:
    """Probability of the label (n,): exact among the kept classes, else the mean of the others."""
    p = np.exp(kept[:, TOP_LOGITS] - kept[:, LOG_PARTITION, None])
    hit = kept[:, TOP_CLASSES] == label[:, None]
    others = np.maximum(1.0 - p.sum(axis=1), 0.0) / (kept[:, CLASSES] - TOP)
    # Float32 may leave less than nothing for the others; no class has none.
    others = np.maximum(others, 1e-12)
    return np.where(hit.any(axis=1), (p * hit).sum(axis=1), np.minimum(others, p[:, -1]))


def residual_norm(kept: NDArray[Any], label: NDArray[Any]) -> Floats:
    """||p - e_y|| (n,), from ||p||^2 - 2 p_y + 1."""
    return np.sqrt(np.maximum(kept[:, SQUARE] - 2 * chance_of(kept, label) + 1, 0.0))


def residual(kept: NDArray[Any], label: NDArray[Any]) -> Floats:
    """P p - P e_y (n, 16)."""
    projected: Floats = kept[:, PROJECTION].astype(np.float64) - directions(label)
    return projected


def margin(kept: NDArray[Any]) -> Floats:
    """p1 - p2 (n,), of the two likeliest classes."""
    two = np.exp(kept[:, TOP_LOGITS][:, :2] - kept[:, LOG_PARTITION, None])
    gap: Floats = two[:, 0] - two[:, 1]
    return gap
