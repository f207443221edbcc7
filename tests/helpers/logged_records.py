"""Forward records of a model that is a little wrong, for tests of selection."""

import numpy as np
import pyarrow as pa

from spark_jobs.selection.tasks import sigmoid


def binary_records(n: int, seed: int = 1, sketch: int = 4) -> pa.Table:
    """n labelled records of a binary model: two segment keys, a sketch of `sketch` numbers."""
    random = np.random.default_rng(seed)
    hidden = random.normal(size=(n, sketch)).astype(np.float32)
    logit = hidden @ random.normal(size=sketch) * 0.7 - 1.2
    label = (random.random(n) < sigmoid(1.2 * logit + 0.3)).astype(np.float64)
    origin = np.array(["EWR", "JFK", "LGA"])[random.integers(0, 3, n)]
    carrier = np.array(["AA", "DL", "UA", "WN"])[random.integers(0, 4, n)]
    return pa.table(
        {
            "instance_id": [f"flight-{i}" for i in range(n)],
            "prediction": logit,
            "label": label,
            "segments": pa.array([list(keys) for keys in zip(origin, carrier, strict=True)]),
            "sketch": pa.array(list(hidden), pa.list_(pa.float32())),
        }
    )


def regression_records(n: int, seed: int = 1) -> pa.Table:
    """n labelled records of a regression with heavy tails."""
    random = np.random.default_rng(seed)
    value = random.normal(size=n)
    return pa.table(
        {
            "instance_id": pa.array(np.arange(n)),
            "prediction": value,
            "label": value + random.standard_t(3, size=n),
        }
    )


def multiclass_records(n: int, classes: int = 4, seed: int = 1) -> pa.Table:
    """n labelled records of a model of `classes` classes."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(n, classes)).astype(np.float32)
    return pa.table(
        {
            "instance_id": [f"image-{i}" for i in range(n)],
            "logits": pa.array(list(logits), pa.list_(pa.float32())),
            "label": random.integers(0, classes, n).astype(np.float64),
            "sketch": pa.array(list(logits[:, :2]), pa.list_(pa.float32())),
        }
    )
