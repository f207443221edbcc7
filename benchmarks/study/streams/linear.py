"""A linear relation that drifts, made here: clean, and with outliers.

y = 1 + x b + e with 16 independent standard normal numbers x. b begins with a standard deviation of
one half each and walks by 0.03 from day to day, also of standard deviation, so that after 60 days a
model of the first day has lost about as much as the noise e, a standard normal, takes anyway. Of
the second stream one label in twenty has 30 times the noise. The same labels judge. 1,000 rows a
day, 60 days; x and the noise before its outliers are alike in both. For the second confirmation all
of this is drawn again.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.study.stream import ONE_PASS, Part, Stream, planned
from benchmarks.study.streams.table import dated
from schemas.pipeline import Pipeline

NUMBERS, PER_DAY, DAYS = 16, 1000, 60
SPREAD, WALK, INTERCEPT = 0.5, 0.03, 1.0
OUTLIERS, TIMES = 0.05, 30.0
SEED, SEED_AGAIN = 20261126, 20261127
SQUARED: dict[str, Any] = {"loss": "squared"}
# 95 % as efficient as least squares under normal noise (Huber 1964).
HUBER: dict[str, Any] = {"loss": "huber", "huber_delta": 1.345}


def linear(folder: Path) -> Stream:
    """Confirmation: squared loss."""
    return _stream("linear", "confirmation", 0.0, SEED)


def linear_outliers(folder: Path) -> Stream:
    """Confirmation: outliers, and Huber's loss."""
    return _stream("linear-outliers", "confirmation", OUTLIERS, SEED)


def linear_again(folder: Path) -> Stream:
    """Second confirmation: squared loss."""
    return _stream("linear-again", "second", 0.0, SEED_AGAIN)


def linear_outliers_again(folder: Path) -> Stream:
    """Second confirmation: outliers, and Huber's loss."""
    return _stream("linear-outliers-again", "second", OUTLIERS, SEED_AGAIN)


def _stream(name: str, part: Part, outliers: float, seed: int) -> Stream:
    inputs, label = drawn(outliers, seed)
    features = {f"x{place}": column for place, column in enumerate(inputs.T)}
    rows = dated("row", PER_DAY, features, label)
    columns = {one: {"type": "float32", "doc": "A standard normal number."} for one in features}
    pipeline = Pipeline.model_validate(
        {
            "name": name.replace("-", "_"),
            "task": "regression",
            "instances": {"columns": columns},
            "labels": {
                "label": "y",
                "columns": {"y": {"type": "float64", "doc": "A linear function, and noise."}},
            },
            "features": {one: {"kind": "number"} for one in features},
            "selection": {"window_days": 10},
            "model": {"name": "linear-regression"},
            "training": ONE_PASS | (HUBER if outliers else SQUARED),
        }
    )
    return planned(name, part, pipeline, rows, learnt_days=2, tuning=10)


def drawn(outliers: float, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Inputs (n, 16) and labels (n,), float32, of all days; a function of the seed."""
    random = np.random.Generator(np.random.Philox(seed))
    steps = random.standard_normal((DAYS, NUMBERS)) * WALK
    steps[0] = random.standard_normal(NUMBERS) * SPREAD
    inputs = random.standard_normal((DAYS, PER_DAY, NUMBERS)).astype(np.float32)
    noise = random.standard_normal((DAYS, PER_DAY))
    far = random.random((DAYS, PER_DAY)) < outliers
    coefficients = steps.cumsum(axis=0)
    label = INTERCEPT + np.einsum("dpn,dn->dp", inputs, coefficients)
    label += noise * np.where(far, TIMES, 1.0)
    return inputs.reshape(-1, NUMBERS), label.reshape(-1).astype(np.float32)
