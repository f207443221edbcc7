"""`training.reader = "arrow"`: another engine, the same batches to the bit."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from schemas.pipeline import Pipeline
from schemas.sections.training import Training
from tests.helpers.trainer_tables import random_rows, small_pipeline, write_refresh
from trainer.data.batches import Batch
from trainer.data.passes import PASSES
from trainer.data.reader import read_holdout
from trainer.data.refresh import Refresh, open_refresh
from trainer.data.sample import open_sample
from trainer.processes.ranks import Ranks

COUNT = 503


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One refresh of seven files, with tensors, weights and offsets that differ."""
    folder, random = tmp_path_factory.mktemp("arrow"), np.random.default_rng(3)
    own = {
        "weight": random.random(COUNT, np.float32) + 0.5,
        "offset": random.normal(size=COUNT).astype(np.float32),
    }
    images = {"image": list(random.random((COUNT, 6), np.float32))}
    held_out = {name: column[:90] for name, column in (random_rows(COUNT) | images).items()}
    rows = random_rows(COUNT, seed=3) | images | own
    write_refresh(folder, with_images("arrow"), "first", rows, held_out, parts=7)
    return folder


def with_images(reader: str, **training: object) -> Pipeline:
    whole = small_pipeline(training={"reader": reader} | training).model_dump()
    whole["instances"]["columns"]["image"] = {"type": "floats"}
    whole["features"]["image"] = {"kind": "tensor", "shape": (2, 3)}
    return Pipeline.model_validate(whole)


def opened(warehouse: Path) -> Refresh:
    return open_refresh(str(warehouse), with_images("arrow"), "first")


def epoch(
    warehouse: Path, settings: Pipeline, number: int, ranks: Ranks, step: int = 0
) -> Iterator[Batch]:
    sample = open_sample(settings, opened(warehouse), ranks)
    return sample.epoch(number, settings.training, ranks, step)


def bits(batches: Iterator[Batch]) -> list[tuple[object, ...]]:
    return [
        (
            *(part.numpy().tobytes() for part in (*one.inputs, one.label, one.offset, one.weight)),
            one.rows,
        )
        for one in batches
    ]


@pytest.mark.parametrize("keep", ["memory", "stream"])
@pytest.mark.parametrize("window", [64, 200, 5000])
@pytest.mark.parametrize("number", [0, 1, 5])
def test_law_4_both_readers_give_the_same_batches(
    warehouse: Path, keep: str, window: int, number: int
) -> None:
    found = [
        bits(epoch(warehouse, with_images(reader, keep=keep, shuffle_rows=window), number, Ranks()))
        for reader in PASSES
    ]
    assert found[0] == found[1]
    assert len(found[0]) == -(-COUNT // 64)


@pytest.mark.parametrize("keep", ["memory", "stream"])
def test_law_4_so_do_they_on_every_rank_and_from_mid_epoch_on(warehouse: Path, keep: str) -> None:
    for rank, step in [(0, 0), (1, 0), (2, 0), (0, 3), (2, 5)]:
        petastorm, arrow = (
            bits(epoch(warehouse, with_images(reader, keep=keep), 1, Ranks(rank, 3), step))
            for reader in PASSES
        )
        assert petastorm == arrow


def test_law_4_the_order_stays_a_function_of_seed_and_epoch(warehouse: Path) -> None:
    def order(number: int, **settings: object) -> list[tuple[object, ...]]:
        return bits(epoch(warehouse, with_images("arrow", **settings), number, Ranks()))

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert order(1) != order(1, seed=2)


def test_the_hold_out_is_the_same_by_either_reader(warehouse: Path) -> None:
    one, other = (read_holdout(with_images(reader), opened(warehouse)).rows for reader in PASSES)
    for mine, theirs in zip((*one.inputs, one.label), (*other.inputs, other.label), strict=True):
        assert mine.tobytes() == theirs.tobytes()


def test_the_reader_decides_nothing_so_a_training_may_go_on_with_the_other() -> None:
    one, other = (Training(reader=name).decides() for name in ("petastorm", "arrow"))
    assert one == other


def test_every_reader_that_the_settings_name_is_there() -> None:
    assert set(get_args(Training.model_fields["reader"].annotation)) == set(PASSES)


def test_it_reads_where_petastorm_is_not_installed(warehouse: Path) -> None:
    code = (
        "import sys; sys.modules['petastorm'] = None\n"
        "from tests.test_arrow_reader import opened, with_images\n"
        "from trainer.data.reader import read_sampled\n"
        "from pathlib import Path\n"
        f"refresh = opened(Path({str(warehouse)!r}))\n"
        "print(len(read_sampled(with_images('arrow'), refresh)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == f"{COUNT}\n", done.stderr
