"""The study's search for an arm's settings: it ends where nothing around the best is better."""

from math import inf, log10, nan
from pathlib import Path

import pytest

from benchmarks.study.arms import Arm, uniform_arm
from benchmarks.study.loop import Settings
from benchmarks.study.streams.images import digits
from benchmarks.study.tuning import BATCHES, RATES, WINDOWS, around, grid, search

STREAM = digits(Path("data"))
UNIFORM = uniform_arm()


def searched(loss, arm=UNIFORM):
    tried = []

    def told(settings):
        tried.append(settings)
        return loss(settings)

    best = search(grid(STREAM, arm), lambda one: around(STREAM, arm, one), told)
    return best, tried


def bowl(batch, rate, window):
    """Least at one setting, and the greater the further from it."""

    def loss(settings):
        return (
            abs(log10(settings.batch_size / batch))
            + abs(log10(settings.learning_rate / rate))
            + abs(settings.window_days - window)
        )

    return loss


def test_the_grid_is_sixteen_settings_and_eight_for_all_rows():
    assert len(grid(STREAM, UNIFORM)) == 16
    assert len(grid(STREAM, Arm("all", every=True))) == 8


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("rate", RATES)
def test_finds_a_best_beyond_the_grid(batch, rate):
    best, tried = searched(bowl(batch, rate, STREAM.step))
    assert best == Settings(batch, rate, STREAM.step)
    assert len(tried) == len(set(tried)), "a setting is tried once"


def test_everything_around_the_best_was_tried():
    best, tried = searched(bowl(4, 0.03, 4 * STREAM.step))
    assert set(tried) >= {
        Settings(batch, rate, window * STREAM.step)
        for batch in (4, 16)
        for rate in (0.01, 0.03, 0.1)
        for window in WINDOWS
    }
    assert best.batch_size == 4


@pytest.mark.parametrize("diverged", [inf, nan])
def test_a_loss_that_is_not_finite_is_never_the_best(diverged):
    loss = bowl(16, 0.3, STREAM.step)
    best, _ = searched(lambda one: diverged if one.learning_rate >= 0.03 else loss(one))
    assert best.learning_rate == 0.01
