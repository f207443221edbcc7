"""Law 4: the trainer reads exactly the refresh."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event, current_thread, main_thread

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable as Snapshot
from hypothesis import given, settings
from hypothesis import strategies as st
from petastorm import make_batch_reader
from petastorm.workers_pool.ventilator import ConcurrentVentilator

from schemas.errors import ConfigurationError, DataQualityError
from schemas.tables import sampled
from tests.helpers.trainer_tables import random_rows, small_pipeline, write_refresh
from trainer.data.epoch import epoch_order, shares, sorted_places, steps
from trainer.data.petastorm_pool import end_only_when_done
from trainer.data.reader import (
    Batches,
    Pass,
    petastorm_pass,
    read_exactly,
    read_holdout,
    read_sampled,
)
from trainer.data.refresh import newest_refresh, open_refresh

PIPELINE = small_pipeline()
FIELDS = sampled(PIPELINE).reader_fields
FLOATS = pa.list_(pa.float32())
GOLDEN_ORDER = [4, 1, 6, 3, 2, 7, 5, 0]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with two refreshes; tests that alter it take a copy."""
    root = tmp_path_factory.mktemp("written")
    write_refresh(root, PIPELINE, "first", random_rows(503, seed=1), day=1)
    write_refresh(root, PIPELINE, "second", random_rows(300, seed=2), parts=2, day=2)
    return root


@pytest.fixture
def warehouse(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "warehouse"))


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

    def slowed(self: ConcurrentVentilator) -> bool:
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
@pytest.mark.filterwarnings("ignore::FutureWarning")
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


# A refresh that is not what its manifest says is refused by name.


def test_a_vacuumed_refresh_is_refused_by_name(warehouse: Path) -> None:
    Path(open_refresh(str(warehouse), PIPELINE, "first").sampled[0].path).unlink()
    with pytest.raises(DataQualityError, match=r"refresh first: refused.*vacuumed.*Remedy"):
        open_refresh(str(warehouse), PIPELINE, "first")
    assert open_refresh(str(warehouse), PIPELINE, "second").drawn == 300


def test_an_altered_file_is_refused_by_name(warehouse: Path) -> None:
    path = Path(open_refresh(str(warehouse), PIPELINE, "first").sampled[0].path)
    path.write_bytes(path.read_bytes() + b"!")
    with pytest.raises(DataQualityError, match=r"refresh first: refused.* bytes"):
        open_refresh(str(warehouse), PIPELINE, "first")


def test_a_manifest_of_other_files_is_refused_by_name(warehouse: Path) -> None:
    other = '[{"path": "refresh_id=x/part-0.parquet", "rows": 10, "bytes": 100}]'
    write_refresh(warehouse, PIPELINE, "odd", random_rows(10), day=3, files=other)
    with pytest.raises(DataQualityError, match="refresh odd: refused, its manifest lists 1 files"):
        open_refresh(str(warehouse), PIPELINE, "odd")


def test_a_manifest_that_counts_other_rows_is_refused_by_name(warehouse: Path) -> None:
    write_refresh(warehouse, PIPELINE, "odd", random_rows(10), day=3, drawn=11)
    with pytest.raises(DataQualityError, match=r"refresh odd: refused.* has 10 rows, not 11"):
        open_refresh(str(warehouse), PIPELINE, "odd")


def test_a_version_that_is_gone_is_refused_by_name(warehouse: Path) -> None:
    write_refresh(warehouse, PIPELINE, "odd", random_rows(10), day=3, sampled_version=999)
    with pytest.raises(DataQualityError, match="refresh odd: refused, version 999 of sampled"):
        open_refresh(str(warehouse), PIPELINE, "odd")


def test_a_refresh_deleted_from_the_table_is_still_read_at_its_version(warehouse: Path) -> None:
    Snapshot(str(warehouse / "sampled")).delete("refresh_id = 'first'")
    rows = read_sampled(PIPELINE, open_refresh(str(warehouse), PIPELINE, "first"))
    assert len(rows) == 503


def test_an_unknown_refresh_names_the_newest(written: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"--refresh nope: .*second, first.* Remedy"):
        open_refresh(str(written), PIPELINE, "nope")
    assert newest_refresh(str(written), PIPELINE) == "second"


def test_a_missing_table_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"table refreshes .* not found. Remedy"):
        open_refresh(str(tmp_path), PIPELINE, "first")


def test_a_refresh_may_have_any_name(warehouse: Path) -> None:
    write_refresh(warehouse, PIPELINE, "50 % of: it's", random_rows(20), day=3)
    assert (
        len(read_sampled(PIPELINE, open_refresh(str(warehouse), PIPELINE, "50 % of: it's"))) == 20
    )


def test_a_code_the_model_has_no_place_for_names_the_feature(warehouse: Path) -> None:
    rows = random_rows(20) | {"slot": np.full(20, 8, np.int32)}
    write_refresh(warehouse, PIPELINE, "odd", rows, day=3)
    with pytest.raises(DataQualityError, match=r"features.slot: codes from 8 to 8"):
        read_sampled(PIPELINE, open_refresh(str(warehouse), PIPELINE, "odd"))


# The order of an epoch.

sizes = st.integers(1, 700)
worlds = st.integers(1, 9)
batch_sizes = st.integers(1, 300)


@settings(max_examples=200, deadline=None)
@given(rows=sizes, world=worlds, batch_size=batch_sizes, seed=st.integers(1, 1 << 31))
def test_law_4_every_row_once_an_epoch_and_equal_steps_on_every_rank(
    rows: int, world: int, batch_size: int, seed: int
) -> None:
    order = epoch_order(rows, seed, epoch=3)
    ranks = [list(shares(order, batch_size, rank, world)) for rank in range(world)]
    seen = np.concatenate([share.rows[share.real] for rank in ranks for share in rank])
    assert sorted(seen) == list(range(rows))
    assert {len(rank) for rank in ranks} == {steps(rows, batch_size)}
    for step in zip(*ranks, strict=True):
        assert len({len(share.rows) for share in step}) == 1
    assert sum((~share.real).sum() for share in ranks[0]) == 0


@settings(max_examples=50, deadline=None)
@given(rows=sizes, world=worlds, batch_size=batch_sizes)
def test_a_batch_holds_the_same_rows_whatever_the_number_of_ranks(
    rows: int, world: int, batch_size: int
) -> None:
    order = epoch_order(rows, seed=1, epoch=0)
    ranks = [list(shares(order, batch_size, rank, world)) for rank in range(world)]
    for step, alone in enumerate(shares(order, batch_size)):
        together = [rank[step].rows[rank[step].real] for rank in ranks]
        assert sorted(np.concatenate(together)) == sorted(alone.rows)


def test_law_4_the_order_is_a_function_of_seed_and_epoch() -> None:
    order = epoch_order(1000, seed=7, epoch=2)
    np.random.default_rng(0).random(100)  # nothing draws from elsewhere
    np.testing.assert_array_equal(order, epoch_order(1000, seed=7, epoch=2))
    assert not np.array_equal(order, epoch_order(1000, seed=8, epoch=2))
    assert list(epoch_order(8, seed=7, epoch=0)) == GOLDEN_ORDER


@settings(max_examples=100, deadline=None)
@given(
    upper=st.lists(st.sampled_from([0, 1, 1 << 31, (1 << 32) - 1]), max_size=40),
    seed=st.integers(0, 99),
)
def test_places_are_sorted_by_the_whole_key_and_equal_keys_stay_as_they_lie(
    upper: list[int], seed: int
) -> None:
    lower = np.random.default_rng(seed).integers(0, 3, len(upper)).astype(np.uint64)
    keys = np.array(upper, np.uint64) << np.uint64(32) | lower
    np.testing.assert_array_equal(sorted_places(keys), np.argsort(keys, kind="stable"))


def test_positions_of_two_epochs_are_unrelated() -> None:
    orders = [np.argsort(epoch_order(5000, seed=1, epoch=epoch)) for epoch in range(6)]
    correlation = np.corrcoef(orders) - np.eye(6)
    assert np.abs(correlation).max() < 4 / np.sqrt(5000)


def test_an_impossible_rank_is_refused() -> None:
    with pytest.raises(ValueError, match="rank 2 of 2"):
        next(shares(epoch_order(10, 1, 0), 4, rank=2, world=2))
