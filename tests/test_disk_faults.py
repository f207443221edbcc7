"""A disk that is full or read-only, files that are cut off or gone: a named error with its remedy
and its exit code, and once it is mended the repeat does what was wanted."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tenforward
from tests.helpers.pipeline_file import pipeline_file
from tests.helpers.trainer_tables import (
    empty_database,
    random_rows,
    small_pipeline,
    two_refreshes,
    write_refresh,
)

PIPELINE = small_pipeline(gate={"max_loss_increase": 9.0})


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own; needs the right to mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(line, capture_output=True, check=False).returncode:
        pytest.skip("a disk of its own can be mounted by root alone")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def warehouse(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    """Two refreshes, of which nothing was trained yet."""
    root = two_refreshes(tmp_path / "warehouse", PIPELINE)
    shutil.copy(empty_database(tmp_path_factory.getbasetemp()), root / "mlflow.db")
    return root


def run(capfd: Any, command: str, root: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON result of a command."""
    file = pipeline_file(root.parent, PIPELINE)
    where = ["--pipeline", file, "--warehouse", str(root)]
    code = tenforward.main([command, *where, *options])
    return code, json.loads(capfd.readouterr().out.splitlines()[-1])


def fill(disk: Path, leave: int) -> Path:
    """A file that leaves so many bytes of the disk."""
    free = os.statvfs(disk)
    filler = disk / "filler"
    filler.write_bytes(b"x" * max(free.f_bavail * free.f_bsize - leave, 0))
    return filler


@pytest.mark.parametrize("leave", [0, 30_000])
def test_a_full_disk_is_told_and_the_repeat_trains(
    capfd, disk: Path, tmp_path_factory: pytest.TempPathFactory, leave: int
) -> None:
    root = disk / "warehouse"
    write_refresh(root, PIPELINE, "first", random_rows(503, seed=1))
    shutil.copy(empty_database(tmp_path_factory.getbasetemp()), root / "mlflow.db")
    pipeline_file(disk, PIPELINE)
    filler = fill(disk, leave)
    code, result = run(capfd, "train", root, "--refresh", "first")
    assert (code, result["exit_code"]) == (1, 1)
    assert "Remedy: free or add disk space, then repeat the command." in result["error"]
    filler.unlink()
    code, result = run(capfd, "train", root, "--refresh", "first")
    assert (code, result["status"], result["version"]) == (0, "done", "1")


def test_a_read_only_warehouse_is_read_and_refused_what_writes(
    capfd, disk: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = disk / "warehouse"
    write_refresh(root, PIPELINE, "first", random_rows(503, seed=1))
    shutil.copy(empty_database(tmp_path_factory.getbasetemp()), root / "mlflow.db")
    pipeline_file(disk, PIPELINE)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    file = disk / f"{PIPELINE.name}.toml"
    where = ["--pipeline", str(file), "--warehouse", str(root)]
    code = tenforward.main(["train", *where, "--refresh", "first"])
    told = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert code == 2
    assert "cannot be written to" in told["error"]
    assert "Remedy: " in told["error"]
    assert tenforward.main(["status", *where]) == 0


def cut(file: Path) -> None:
    """Leave the first half of a file."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def newest(root: Path, pattern: str) -> Path:
    """The last of some files, by name."""
    return sorted(root.glob(pattern))[-1]


# What is damaged -> the exit code: 4, refused for the data; 2, for what it is told of the place.
DAMAGE = {
    "sampled/refresh_id=first/*.parquet": 4,
    "holdout/refresh_id=first/*.parquet": 4,
    "refreshes/*.parquet": 4,
    "refreshes/_delta_log/*00.json": 4,
    "sampled/_delta_log/*00.json": 4,
    "mlflow.db": 2,
}


@pytest.mark.parametrize(
    ("pattern", "how"),
    [
        pytest.param(pattern, how, id=f"{pattern} {words}")
        for pattern in DAMAGE
        for how, words in ((cut, "cut off"), (Path.unlink, "gone"))
        if (pattern, words) != ("mlflow.db", "gone")  # then the first training makes it anew
    ],
)
def test_a_file_that_is_cut_off_or_gone_is_told_by_name(
    capfd, warehouse: Path, pattern: str, how: Any
) -> None:
    file = newest(warehouse, pattern)
    kept = file.read_bytes()
    how(file)
    code, result = run(capfd, "train", warehouse, "--refresh", "first")
    assert code == DAMAGE[pattern], result
    assert "Remedy: " in result["error"]
    file.write_bytes(kept)
    code, result = run(capfd, "train", warehouse, "--refresh", "first")
    assert (code, result["status"]) == (0, "done")


@pytest.mark.parametrize("name", ["weights.safetensors", "program.pt2", "model.json"])
def test_a_bundle_that_is_cut_off_is_told_by_name(capfd, warehouse: Path, name: str) -> None:
    assert run(capfd, "train", warehouse, "--refresh", "first")[0] == 0
    bundle = newest(warehouse, "mlartifacts/*/artifacts/bundle")
    names = sorted(file.name for file in bundle.iterdir())
    assert name in names, names
    kept = (bundle / name).read_bytes()
    cut(bundle / name)
    code, result = run(capfd, "train", warehouse, "--refresh", "second")
    assert code == 2, result
    assert name in result["error"]
    assert "Remedy: " in result["error"]
    (bundle / name).write_bytes(kept)
    code, result = run(capfd, "train", warehouse, "--refresh", "second")
    assert (code, result["status"], result["version"]) == (0, "done", "2")
