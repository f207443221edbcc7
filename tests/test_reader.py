"""Law 4: the trainer reads exactly the refresh."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event, current_thread, main_thread
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.errors import DataQualityError
from schemas.tables import sampled
from tests.helpers.trainer_tables import random_rows, small_pipeline, write_refresh
from trainer.data.passes import Batches, Pass, petastorm_pass
from trainer.data.petastorm_files import make_batch_reader, workers_pool
from trainer.data.petastorm_pool import end_only_when_done
from trainer.data.reader import (
    read_exactly,
    read_holdout,
    read_sampled,
)
from trainer.data.refresh import open_refresh

PIPELINE = small_pipeline()
FIELDS = sampled(PIPELINE).reader_fields
ConcurrentVentilator = workers_pool.ventilator.ConcurrentVentilator
FLOATS = pa.list_(pa.float32())


def test_law_4_the_trainer_reads_exactly_the_refresh(written: Path) -> None:
    refresh = open_refresh(str(written), PIPELINE, "first")
    rows = read_sampled(PIPELINE, refresh)
    wrote = random_rows(503, seed=1)
    np.testing.assert_array_equal(rows.categories, np.stack([wrote["shop"], wrote["slot"]], 1))
    np.testing.assert_array_equal(rows.numbers, np.stack([wrote["price"], wrote["age"]], 1))
    np.testing.assert_array_equal(rows.label, wrote["label"])
    assert rows.categories.dtype == np.int64
    assert rows.numbers.dtype == np.float32


def test_tensors_reach_the_trainer_in_their_shape(tmp_path: Path) -> None:
    whole = PIPELINE.model_dump()
    whole["instances"]["columns"]["image"] = {"type": "floats"}
    whole["features"]["image"] = {"kind": "tensor", "shape": (1, 3, 4)}
    pipeline = type(PIPELINE).model_validate(whole)
    images = np.random.default_rng(5).random((803, 12)).astype(np.float32)
    rows = {name: column[:100] for name, column in random_rows(803, seed=5).items()}
    write_refresh(
        tmp_path,
        pipeline,
        "images",
        random_rows(803, seed=5) | {"image": list(images)},
        rows | {"image": list(images[:100])},
    )
    refresh = open_refresh(str(tmp_path), pipeline, "images")
    _, _, read = read_sampled(pipeline, refresh).inputs
    np.testing.assert_array_equal(read, images.reshape(803, 1, 3, 4))
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read_holdout(pipeline, refresh).rows.inputs[2], read[:100])


@pytest.mark.parametrize(("row", "found"), [(np.zeros(5), "4 to 5"), (None, "1 rows without")])
def test_tensors_of_unequal_sizes_name_the_column(
    tmp_path: Path, row: np.ndarray | None, found: str
) -> None:
    table = pa.table(
        {"position": [0, 1, 2], "image": pa.array([[1.0] * 4, row, [2.0] * 4], FLOATS)}
    )
    pq.write_table(table, tmp_path / "part.parquet")
    with pytest.raises(DataQualityError, match=f"column image: .*{found}"):
        petastorm_pass([tmp_path / "part.parquet"], ["position", "image"])


def test_law_4_a_later_refresh_does_not_change_an_earlier_one(warehouse: Path) -> None:
    before = read_sampled(PIPELINE, open_refresh(str(warehouse), PIPELINE, "first"))
    write_refresh(warehouse, PIPELINE, "third", random_rows(50, seed=3), day=3)
    after = read_sampled(PIPELINE, open_refresh(str(warehouse), PIPELINE, "first"))
    np.testing.assert_array_equal(before.numbers, after.numbers)


def test_the_hold_out_is_read_by_the_same_reader(written: Path) -> None:
    rows = read_holdout(PIPELINE, open_refresh(str(written), PIPELINE, "second")).rows
    np.testing.assert_array_equal(rows.label, random_rows(200, seed=99)["label"])
    assert set(rows.weight) == {1.0}
    assert set(rows.offset) == {0.0}


def test_law_4_the_order_does_not_depend_on_file_names(written: Path) -> None:
    files = open_refresh(str(written), PIPELINE, "first").sampled
    forwards = read_exactly(files, FIELDS, "forwards")
    backwards = read_exactly(
        files, FIELDS, "backwards", lambda paths, names: petastorm_pass(paths[::-1], names)
    )
    for name in FIELDS:
        np.testing.assert_array_equal(forwards[name], backwards[name])


def test_a_code_the_model_has_no_place_for_names_the_feature(warehouse: Path) -> None:
    rows = random_rows(20) | {"slot": np.full(20, 8, np.int32)}
    write_refresh(warehouse, PIPELINE, "odd", rows, day=3)
    with pytest.raises(DataQualityError, match=r"features.slot: codes from 8 to 8"):
        read_sampled(PIPELINE, open_refresh(str(warehouse), PIPELINE, "odd"))


# A short read is never trained on.


def ending_early(times: int) -> tuple[list[int], Pass]:
    """A pass that loses its last batch the first `times` times, and the count of its calls."""
    calls: list[int] = []

    def one_pass(paths: Sequence[Path], names: Sequence[str]) -> Batches:
        calls.append(len(paths))
        batches = list(petastorm_pass(paths, names))
        return batches[:-1] if len(calls) <= times else batches

    return calls, one_pass


def test_law_4_a_short_read_is_read_again(written: Path) -> None:
    calls, one_pass = ending_early(times=2)
    files = open_refresh(str(written), PIPELINE, "first").sampled
    assert len(read_exactly(files, FIELDS, "it", one_pass)["position"]) == 503
    assert len(calls) == 3


def test_law_4_a_read_that_stays_short_is_an_error(written: Path) -> None:
    calls, one_pass = ending_early(times=99)
    files = open_refresh(str(written), PIPELINE, "first").sampled
    with pytest.raises(DataQualityError, match=r"refresh first: passes gave .* says 503"):
        read_exactly(files, FIELDS, "refresh first", one_pass)
    assert len(calls) == 4


def test_law_4_a_row_read_twice_in_place_of_another_is_refused(written: Path) -> None:
    def doubling(paths: Sequence[Path], names: Sequence[str]) -> Batches:
        batches = sorted(petastorm_pass(paths, names), key=lambda batch: len(batch["position"]))
        *rest, lost, doubled = batches
        assert len(lost["position"]) == len(doubled["position"])
        return [*rest, doubled, doubled]

    files = open_refresh(str(written), PIPELINE, "first").sampled
    with pytest.raises(DataQualityError, match="each once"):
        read_exactly(files, FIELDS, "refresh first", doubling)


@pytest.fixture
def slow_feeding(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Petastorm's race made certain: feeding waits for the reader to ask whether it is done,
    and the reader's question is answered only once feeding is over."""
    asked, fed = Event(), Event()
    completed = ConcurrentVentilator.completed

    def slowed(self: Any) -> bool:
        if current_thread() is main_thread():
            asked.set()
            assert fed.wait(10)
            return bool(completed(self))
        assert asked.wait(10)
        done = bool(completed(self))
        if done:
            fed.set()
        return done

    monkeypatch.setattr(ConcurrentVentilator, "completed", slowed)
    yield
    asked.set()


@pytest.mark.usefixtures("slow_feeding")
@pytest.mark.parametrize(("mended", "rows"), [(False, 0), (True, 300)])
def test_law_4_the_mended_pool_survives_the_race_that_empties_the_original(
    written: Path, mended: bool, rows: int
) -> None:
    # Two files: Petastorm hands out three ahead of the reader, so feeding ends by itself.
    files = open_refresh(str(written), PIPELINE, "second").sampled
    with make_batch_reader(
        [f"file://{file.path}" for file in files],
        schema_fields=["^position$"],
        workers_count=1,
        shuffle_row_groups=False,
        num_epochs=1,
    ) as reader:
        if mended:
            end_only_when_done(reader)
        assert sum(len(batch.position) for batch in reader) == rows


def test_twenty_passes_are_whole_and_equal(written: Path) -> None:
    paths = [file.path for file in open_refresh(str(written), PIPELINE, "first").sampled]
    passes = [
        np.concatenate([batch["position"] for batch in petastorm_pass(paths, ["position"])])
        for _ in range(20)
    ]
    assert all(np.array_equal(one, passes[0]) for one in passes)
    assert len(passes[0]) == 503
