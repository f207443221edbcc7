"""A sample read as a stream gives the batches of the same sample kept in memory."""

import threading
import time
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from schemas.errors import DataQualityError
from schemas.pipeline import Pipeline
from tests.helpers.trainer_tables import random_rows, small_pipeline, write_refresh
from trainer.data import refresh as refresh_module
from trainer.data import stream
from trainer.data.batches import Batch
from trainer.data.passes import PASSES, Batches
from trainer.data.reader import read_sampled
from trainer.data.refresh import Refresh, open_refresh
from trainer.data.sample import (
    Kept,
    Sample,
    Streamed,
    memory_needed,
    open_sample,
    read_packed,
)
from trainer.data.survey import survey_of
from trainer.processes.ranks import Ranks

COUNT = 1003


def pipeline(**training: object) -> Pipeline:
    return small_pipeline(training={"shuffle_rows": 100, "batch_size": 32} | training)


@pytest.fixture(scope="module")
def refresh(tmp_path_factory: pytest.TempPathFactory) -> Refresh:
    """A sample of 21 files in seven groups, some of which a window cuts."""
    root = tmp_path_factory.mktemp("streamed")
    rows = random_rows(COUNT, seed=1)
    rows["weight"] = np.random.default_rng(2).uniform(0.2, 3, COUNT).astype(np.float32)
    write_refresh(root, pipeline(), "first", rows, parts=21)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refresh_module, "FILE_GROUP_ROWS", 140)
        opened = open_refresh(str(root), pipeline(), "first")
    assert len(opened.file_groups) == 7
    return opened


def both(settings: Pipeline, refresh: Refresh) -> tuple[Sample, Sample]:
    kept = Kept(read_packed(settings, refresh), refresh.group_sizes)
    return kept, Streamed(settings, refresh)


def same(one: list[Batch], other: list[Batch]) -> bool:
    def flat(batches: list[Batch]) -> list[torch.Tensor]:
        return [t for b in batches for t in (*b.inputs, b.label, b.offset, b.weight)]

    counts = [[batch.rows for batch in batches] for batches in (one, other)]
    return counts[0] == counts[1] and all(map(torch.equal, flat(one), flat(other)))


@pytest.mark.parametrize("window", [1, 37, 100, 450, 5000])
@pytest.mark.parametrize("epoch", [0, 1])
def test_law_4_the_stream_has_the_order_of_the_rows_kept(
    refresh: Refresh, window: int, epoch: int
) -> None:
    settings = pipeline(shuffle_rows=window)
    kept, streamed = both(settings, refresh)
    batches = list(kept.epoch(epoch, settings.training, Ranks()))
    assert sum(len(batch.label) for batch in batches) == COUNT
    assert same(batches, list(streamed.epoch(epoch, settings.training, Ranks())))


@pytest.mark.parametrize(("window", "readers"), [(37, 1), (100, 2), (450, 1), (100, 7)])
def test_law_4_what_is_read_ahead_of_a_slow_step_leaves_its_window_alone(
    refresh: Refresh, window: int, readers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "trainer.data.batches.COPIED_BYTES", 1
    )  # a batch at a time, when it is its turn
    settings = pipeline(shuffle_rows=window, readers=readers)
    kept, streamed = both(settings, refresh)
    slowly = []
    for batch in streamed.epoch(1, settings.training, Ranks()):
        slowly.append(batch)
        time.sleep(0.005)
    assert same(list(kept.epoch(1, settings.training, Ranks())), slowly)


@pytest.mark.parametrize(("window", "readers"), [(1, 1), (37, 1), (100, 2), (450, 1), (100, 7)])
@pytest.mark.parametrize("first_step", [0, 17, 32])  # 32: nothing of the epoch is left
def test_law_4_the_next_epoch_is_begun_beside_the_end_of_the_one_before_and_has_its_own_order(
    refresh: Refresh,
    window: int,
    readers: int,
    first_step: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trainer.data.batches.COPIED_BYTES", 1)
    settings = pipeline(shuffle_rows=window, readers=readers, epochs=4)
    kept, streamed = both(settings, refresh)
    for epoch in range(1, 4):
        slowly, step = [], first_step if epoch == 1 else 0
        for batch in streamed.epoch(epoch, settings.training, Ranks(), step):
            slowly.append(batch)
            time.sleep(0.002)
        assert same(list(kept.epoch(epoch, settings.training, Ranks()))[step:], slowly)


@pytest.mark.parametrize(("window", "readers"), [(1, 1), (37, 1), (100, 2), (450, 1), (100, 7)])
def test_windows_that_are_wanted_at_one_time_share_no_memory(
    refresh: Refresh, window: int, readers: int
) -> None:
    plan, _ = stream._plan(refresh, pipeline(shuffle_rows=window).training, range(3), 0)
    readings = stream._readings(plan)
    begun = stream._begun(readings, stream._needed(plan, readings), readers)
    starts, size = stream._shared(plan, begun, before=32)
    # From the turn in which it is begun to the one after its own.
    wanted = [range(begun[turn], turn + 2) for turn in range(len(plan))]
    rows = [range(start - 32, start + one.size) for start, one in zip(starts, plan, strict=True)]
    for one, other in combinations(range(len(plan)), 2):
        if max(wanted[one][0], wanted[other][0]) <= min(wanted[one][-1], wanted[other][-1]):
            assert rows[one][-1] < rows[other][0] or rows[other][-1] < rows[one][0]
    assert min(each[0] for each in rows) == 0
    assert max(each[-1] for each in rows) == size - 1
    assert size < sum(map(len, rows)) / 2 or len(plan) < 20


def read_groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The first rows of the file groups as they are read from now on."""
    read: list[int] = []
    passed = PASSES["petastorm"]

    def one_pass(paths: Sequence[Path], names: Sequence[str]) -> Batches:
        batches = list(passed(paths, names))
        read.append(min(int(batch["position"].min()) for batch in batches))
        return batches

    monkeypatch.setitem(PASSES, "petastorm", one_pass)
    return read


def test_three_epochs_read_every_file_group_three_times(
    refresh: Refresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, read = pipeline(epochs=3), read_groups(monkeypatch)
    streamed = Streamed(settings, refresh)
    for epoch in range(3):
        assert len(list(streamed.epoch(epoch, settings.training, Ranks()))) == 32
    starts = [group.start for group in refresh.file_groups]
    assert sorted(read) == sorted(starts * 3)


def test_the_last_epoch_reads_nothing_ahead(
    refresh: Refresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, read = pipeline(epochs=1), read_groups(monkeypatch)
    list(Streamed(settings, refresh).epoch(0, settings.training, Ranks()))
    assert len(read) == len(refresh.file_groups)


def test_an_epoch_begun_ahead_that_another_fit_does_not_want_is_left(refresh: Refresh) -> None:
    settings, before = pipeline(epochs=3), threading.active_count()
    kept, streamed = both(settings, refresh)
    list(streamed.epoch(0, settings.training, Ranks()))  # and now its 1 is on its way
    other = settings.training.model_copy(update={"seed": 9})
    for epoch in (0, 1, 0):
        alike = list(kept.epoch(epoch, other, Ranks()))
        assert same(alike, list(streamed.epoch(epoch, other, Ranks())))
    del streamed
    assert threading.active_count() == before


@pytest.mark.parametrize("step", [1, 3, 17, 31])
def test_law_4_a_stream_taken_up_in_mid_epoch_goes_on_with_the_same_batches(
    refresh: Refresh, step: int
) -> None:
    settings = pipeline()
    kept, streamed = both(settings, refresh)
    rest = list(kept.epoch(2, settings.training, Ranks()))[step:]
    assert same(rest, list(streamed.epoch(2, settings.training, Ranks(), step)))


def test_every_rank_gets_the_same_shares_from_the_stream(refresh: Refresh) -> None:
    settings = pipeline()
    kept, streamed = both(settings, refresh)
    for rank in range(3):
        ranks = Ranks(rank, 3)
        alike = list(kept.epoch(0, settings.training, ranks))
        assert same(alike, list(streamed.epoch(0, settings.training, ranks)))


def test_rows_held_back_weigh_nothing_in_the_stream_as_in_memory(refresh: Refresh) -> None:
    settings = pipeline()
    held_back = np.arange(COUNT) % 7 == 3
    (kept, validated), (streamed, alike) = (
        sample.without(held_back) for sample in both(settings, refresh)
    )
    batches = list(kept.epoch(1, settings.training, Ranks()))
    assert sum(int((batch.weight == 0).sum()) for batch in batches) == held_back.sum()
    assert sum(batch.rows for batch in batches) == COUNT - held_back.sum()
    assert same(batches, list(streamed.epoch(1, settings.training, Ranks())))
    np.testing.assert_array_equal(validated.weight, alike.weight)
    assert validated.weight.all()


def test_the_survey_of_a_stream_is_that_of_the_rows_kept_bit_by_bit(refresh: Refresh) -> None:
    kept, streamed = (survey_of(sample.parts(), "binary") for sample in both(pipeline(), refresh))
    np.testing.assert_array_equal(kept.numbers.mean, streamed.numbers.mean)
    np.testing.assert_array_equal(kept.numbers.scale, streamed.numbers.scale)
    assert (kept.rows, kept.weight) == (streamed.rows, streamed.weight)
    assert kept.labels.tolist() == [0, 1]


def test_moments_over_parts_are_those_of_the_whole(refresh: Refresh) -> None:
    kept, _ = both(pipeline(), refresh)
    rows = read_sampled(pipeline(), refresh)
    survey = survey_of(kept.parts(), "binary")
    mean = np.average(rows.numbers.astype(np.float64), axis=0, weights=rows.weight)
    spread = np.average((rows.numbers - mean) ** 2, axis=0, weights=rows.weight)
    np.testing.assert_allclose(survey.numbers.mean, mean)
    np.testing.assert_allclose(survey.numbers.scale, np.sqrt(spread))


def test_what_fits_is_kept_unless_the_settings_say_otherwise(
    refresh: Refresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(open_sample(pipeline(), refresh, Ranks()), Kept)
    assert isinstance(open_sample(pipeline(keep="stream"), refresh, Ranks()), Streamed)
    monkeypatch.setattr("trainer.data.sample._free_memory", lambda ranks: 1000.0)
    assert isinstance(open_sample(pipeline(), refresh, Ranks()), Streamed)
    assert isinstance(open_sample(pipeline(keep="memory"), refresh, Ranks()), Kept)
    # Two codes of eight bytes, two numbers, label, weight, offset, and what a reader brings along.
    assert memory_needed(pipeline(), 10) == 10 * (2 * 8 + 5 * 4 + 8 + 8)


def test_a_stream_that_is_left_early_ends_its_readers(refresh: Refresh) -> None:
    settings = pipeline()
    batches = both(settings, refresh)[1].epoch(0, settings.training, Ranks())
    next(batches)
    batches.close()  # type: ignore[attr-defined]


def test_a_file_group_that_stays_short_ends_the_epoch_with_an_error(
    refresh: Refresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = pipeline()
    monkeypatch.setitem(PASSES, "petastorm", lambda paths, names: [])
    with pytest.raises(DataQualityError, match=r"refresh first, table sampled: passes gave"):
        list(Streamed(settings, refresh).epoch(0, settings.training, Ranks()))


def test_files_that_do_not_follow_position_are_refused(tmp_path: Path) -> None:
    rows = random_rows(100, seed=1)
    write_refresh(tmp_path, pipeline(), "odd", rows, first_position=3)
    with pytest.raises(DataQualityError, match="begins at position 3 where 0 comes next"):
        open_refresh(str(tmp_path), pipeline(), "odd")
