"""`read_refresh`: a refresh as an Arrow table, exactly, for a trainer of one's own."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from torch.utils.data import DataLoader

from schemas.errors import ConfigurationError, DataQualityError
from tenforward import read_refresh, torch_dataset
from tests.helpers.trainer_tables import random_rows, small_pipeline, write_refresh
from trainer.data.reader import read_sampled
from trainer.data.refresh import open_refresh
from trainer.data.table import feature_columns

PIPELINE = small_pipeline()
FEATURES = ["shop", "price", "slot", "age"]


def test_law_4_every_row_is_there_once_in_the_order_of_its_position(written: Path) -> None:
    table, wrote = read_refresh(str(written), "first"), random_rows(503, seed=1)
    targets = ["label", "weight", "offset", "probability"]
    assert table.column_names == ["instance_id", "position", *FEATURES, *targets]
    assert table["position"].to_pylist() == list(range(503))
    assert table["instance_id"].to_pylist() == [f"first-{i}" for i in range(503)]
    for name, column in wrote.items():
        assert table[name].to_numpy().tobytes() == column.tobytes()


def test_it_has_the_rows_that_the_trainer_reads(written: Path) -> None:
    rows = read_sampled(PIPELINE, open_refresh(str(written), PIPELINE, "second"))
    frame = read_refresh(str(written), "second").to_pandas()
    np.testing.assert_array_equal(frame[["shop", "slot"]], rows.categories)
    np.testing.assert_array_equal(frame[["price", "age"]], rows.numbers)
    np.testing.assert_array_equal(frame["weight"], rows.weight)


def test_the_hold_out_has_segments_and_no_weight(written: Path) -> None:
    table = read_refresh(str(written), "first", part="holdout")
    assert table.column_names == [
        *("instance_id", "position", *FEATURES, "label"),
        *("segments", "forward"),
    ]
    assert len(table) == 200


def test_another_part_is_refused(written: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"part = 'train': unknown.*sampled, holdout"):
        read_refresh(str(written), "first", part="train")  # type: ignore[arg-type]


def test_a_refresh_that_is_not_there_names_the_newest(written: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"third: not in .* are: second, first\."):
        read_refresh(str(written), "third")


def test_a_warehouse_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"table refreshes = .*: not found"):
        read_refresh(str(tmp_path), "first")


@pytest.mark.parametrize("part", ["sampled", "holdout"])
def test_a_flipped_bit_is_refused(warehouse: Path, part: str) -> None:
    file = sorted((warehouse / part / "refresh_id=first").glob("*.parquet"))[0]
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataQualityError, match=r"refresh first: refused, file .* has other bytes"):
        read_refresh(str(warehouse), "first", part=part)  # type: ignore[arg-type]


def test_a_file_that_went_is_refused(warehouse: Path) -> None:
    sorted((warehouse / "sampled" / "refresh_id=first").glob("*.parquet"))[0].unlink()
    with pytest.raises(DataQualityError, match=r"is gone \(vacuumed\?\)"):
        read_refresh(str(warehouse), "first")


def test_positions_that_are_not_there_once_are_refused(warehouse: Path) -> None:
    rows = random_rows(60) | {"position": np.repeat(np.arange(30), 2)}
    write_refresh(warehouse, PIPELINE, "twice", rows, parts=1, day=3)
    with pytest.raises(DataQualityError, match="positions should be 0 to 59, each once"):
        read_refresh(str(warehouse), "twice")


def test_a_later_refresh_changes_nothing(warehouse: Path) -> None:
    before = read_refresh(str(warehouse), "first")
    write_refresh(warehouse, PIPELINE, "third", random_rows(50, seed=3), day=3)
    assert read_refresh(str(warehouse), "first").equals(before)


def test_a_hold_out_without_rows_has_its_columns(tmp_path: Path) -> None:
    empty = {name: column[:0] for name, column in random_rows(5).items()}
    write_refresh(tmp_path, PIPELINE, "first", random_rows(50), random_rows(20))
    write_refresh(tmp_path, PIPELINE, "bare", random_rows(50), empty, day=2)
    bare, full = (read_refresh(str(tmp_path), name, "holdout") for name in ("bare", "first"))
    assert (len(bare), bare.column_names) == (0, full.column_names)


def test_torch_takes_it_by_one_call(written: Path) -> None:
    table = read_refresh(str(written), "first")
    assert feature_columns(table) == FEATURES
    codes, numbers, label, weight, offset = next(iter(DataLoader(torch_dataset(table), 503)))
    rows = read_sampled(PIPELINE, open_refresh(str(written), PIPELINE, "first"))
    np.testing.assert_array_equal(codes, rows.categories)
    np.testing.assert_array_equal(numbers, rows.numbers)
    for found, wanted in [(label, rows.label), (weight, rows.weight), (offset, rows.offset)]:
        assert found.numpy().tobytes() == wanted.tobytes()


def test_torch_takes_tensors_and_a_hold_out_too() -> None:
    images = pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32()))
    table = pa.table({"position": [0, 1], "image": images, "label": pa.array([0, 1], pa.float32())})
    codes, numbers, image, _, weight, offset = torch_dataset(table).tensors
    assert (codes.shape, numbers.shape, image.tolist()) == ((2, 0), (2, 0), images.to_pylist())
    assert (weight.tolist(), offset.tolist()) == ([1, 1], [0, 0])


def test_it_needs_neither_spark_nor_torch_nor_petastorm(written: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('pyspark', 'py4j', 'torch', 'petastorm', 'mlflow', 'numba'):\n"
        "    sys.modules[name] = None\n"
        "from tenforward import read_refresh\n"
        f"print(len(read_refresh({str(written)!r}, 'first')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "503\n", done.stderr
