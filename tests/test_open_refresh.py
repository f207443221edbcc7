"""A refresh is opened as its manifest says, or refused by name."""

from pathlib import Path

import pytest
from deltalake import DeltaTable as Snapshot

from schemas.errors import ConfigurationError, DataQualityError
from tests.helpers.trainer_tables import random_rows, small_pipeline, write_refresh
from trainer.data.reader import (
    read_sampled,
)
from trainer.data.refresh import newest_refresh, open_refresh

PIPELINE = small_pipeline()


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


def test_law_4_one_flipped_bit_anywhere_is_refused_by_name(warehouse: Path) -> None:
    """Of the sample and of the hold-out, in every part of a file: Parquet reads most of them."""
    refresh = open_refresh(str(warehouse), PIPELINE, "first")
    for file in (refresh.sampled[-1], refresh.holdout[0]):
        path = Path(file.path)
        whole = path.read_bytes()
        for place in range(0, len(whole), max(1, len(whole) // 40)):
            changed = bytearray(whole)
            changed[place] ^= 1 << place % 8
            path.write_bytes(changed)
            with pytest.raises(DataQualityError, match=r"refresh first: refused.*other bytes"):
                open_refresh(str(warehouse), PIPELINE, "first")
        path.write_bytes(whole)
    assert open_refresh(str(warehouse), PIPELINE, "first") == refresh


@pytest.mark.parametrize("how", ["vanishes", "shrinks", "is another"])
def test_law_4_a_file_that_goes_while_it_is_read_is_refused_by_name(
    warehouse: Path, how: str
) -> None:
    refresh = open_refresh(str(warehouse), PIPELINE, "first")
    path = Path(refresh.sampled[-1].path)
    if how == "vanishes":
        path.unlink()
    elif how == "shrinks":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path.write_bytes(b"something else")
    with pytest.raises(DataQualityError, match=r"refresh first: refused.*Remedy: run `tenforward"):
        read_sampled(PIPELINE, refresh)
