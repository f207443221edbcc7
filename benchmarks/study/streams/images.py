"""Which of ten classes is an image of? MNIST, Fashion-MNIST, and scikit-learn's small digits.

Images and labels are real, their days are invented: so many a day in the order of the files. Of
MNIST and Fashion-MNIST these are the 60,000 training images, 60 days. There is no drift: what a
refresh brings is more to learn from.
"""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.study.stream import ONE_PASS, Part, Stream, planned
from benchmarks.study.streams.fetched import fetched
from benchmarks.study.streams.table import dated
from schemas.pipeline import Pipeline
from spark_jobs.sources.digits import digit_images, mnist_images, read_idx

PER_DAY, TRAINING_IMAGES = 1000, 60_000
# Of half the widths of pipelines/mnist.toml: a day's answers and fit take tenths of a second.
NETWORK: dict[str, Any] = {"name": "embedding-mlp", "hidden": [64]}
SMALL_PER_DAY = 100
SMALL_NETWORK: dict[str, Any] = {"name": "embedding-mlp", "hidden": [32]}


def mnist(folder: Path) -> Stream:
    """Development. The archive is that of pipelines/mnist.toml."""
    images, labels = mnist_images(folder)
    return _large("mnist", "development", images[:TRAINING_IMAGES], labels[:TRAINING_IMAGES])


def fashion(folder: Path) -> Stream:
    """Confirmation: ten kinds of clothing, as Debian packages them (MIT)."""
    images, labels = (
        read_idx(gzip.decompress(fetched(folder, f"fashion-mnist/train-{what}.gz")))
        for what in ("images-idx3-ubyte", "labels-idx1-ubyte")
    )
    pixels = images.reshape(len(images), -1).astype(np.float32) / np.float32(255)
    return _large("fashion", "confirmation", pixels, labels)


def digits(folder: Path) -> Stream:
    """Development: 1,797 images of 8 x 8, 100 a day; nothing to fetch, for tests and CI."""
    images, labels = digit_images()
    pipeline = _pipeline("digits", [1, 8, 8], SMALL_NETWORK)
    rows = dated("image", SMALL_PER_DAY, {"image": images}, labels)
    return planned("digits", "development", pipeline, rows, learnt_days=3, tuning=4)


def _large(name: str, part: Part, images: NDArray[np.float32], labels: NDArray[Any]) -> Stream:
    pipeline = _pipeline(name, [1, 28, 28], NETWORK)
    rows = dated("image", PER_DAY, {"image": images}, labels)
    return planned(name, part, pipeline, rows, learnt_days=2, tuning=10)


def _pipeline(name: str, shape: list[int], network: dict[str, Any]) -> Pipeline:
    image = {"type": "floats", "doc": "Pixels row by row, 0 to 1."}
    return Pipeline.model_validate(
        {
            "name": name,
            "task": "multiclass",
            "instances": {"columns": {"image": image}},
            "labels": {
                "label": "kind",
                "classes": 10,
                "columns": {"kind": {"type": "float64", "doc": "The class, 0 to 9."}},
            },
            "features": {"image": {"kind": "tensor", "shape": shape}},
            "selection": {"window_days": 10},
            "model": network,
            "training": ONE_PASS,
        }
    )
