"""Petastorm's reader over local files, beside an old pyarrow and NumPy and beside current ones."""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainer.data.passes import petastorm_pass
from trainer.data.petastorm_files import ListedFiles, make_batch_reader

COLUMNS = ["position", "late", "price", "image"]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three files of 1,000 rows in row groups of 300, with columns that no tensor holds."""
    folder, random = tmp_path_factory.mktemp("parts"), np.random.default_rng(1)
    paths = []
    for number in range(3):
        table = pa.table(
            {
                "instance_id": [f"flight-{place}" for place in range(1000)],
                "asked": pa.array([0] * 1000, pa.timestamp("us", "UTC")),
                "segments": pa.array([["EWR", "UA"]] * 1000),
                "raw": pa.array([b"x"] * 1000),
                "position": np.arange(1000 * number, 1000 * number + 1000),
                "late": np.arange(1000) % 3 == 0,
                "price": random.random(1000, np.float32),
                "image": pa.array(list(random.random((1000, 6), np.float32))),
            }
        )
        paths.append(folder / f"{number}.parquet")
        pq.write_table(table, paths[-1], row_group_size=300)
    return paths


@pytest.mark.filterwarnings("error")
def test_every_row_group_comes_in_file_order_as_pyarrow_reads_it(parts: list[Path]) -> None:
    batches = list(petastorm_pass(parts, COLUMNS))
    assert [len(batch["position"]) for batch in batches] == [300, 300, 300, 100] * 3
    expected = pa.concat_tables([pq.ParquetFile(path).read(columns=COLUMNS) for path in parts])
    for name in COLUMNS:
        read = np.concatenate([batch[name] for batch in batches])
        there = np.stack(expected[name].to_numpy())
        assert (read.dtype, read.shape) == (there.dtype, there.shape)
        assert read.tobytes() == there.tobytes()


def test_no_stand_in_stays_behind() -> None:
    """Who imports what Petastorm cannot have is told so, by Python itself."""
    kept = ("pyarrow.filesystem", "petastorm.hdfs.namenode")
    assert [name for name in kept if name in sys.modules and not sys.modules[name].__file__] == []


def test_the_pickle_in_a_folder_is_not_looked_for(parts: list[Path]) -> None:
    """Petastorm unpickles the schema in a file of this name."""
    schema = pq.read_schema(parts[0]).with_metadata({"dataset-toolkit.unischema.v1": b"no pickle"})
    pq.write_metadata(schema, parts[0].parent / "_common_metadata")
    assert ListedFiles([str(path) for path in parts]).common_metadata is None
    only = {"schema_fields": ["^position$"], "workers_count": 1, "num_epochs": 1}
    with make_batch_reader([f"file://{parts[0]}"], **only) as reader:
        assert sum(len(batch.position) for batch in reader) == 1000
