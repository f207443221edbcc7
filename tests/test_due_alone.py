"""`tenforward due` where little is installed, and on records of more than 16 classes: no Spark."""

import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from reference.plain_tables import create
from schemas.pipeline import Pipeline, load_pipeline
from schemas.statistics import statistics
from schemas.tables import all_tables
from spark_jobs import due
from spark_jobs.refresh.plan import cut_of
from spark_jobs.selection.tasks import loss
from tests.helpers.performance_rows import row
from tests.helpers.trainer_tables import write_refresh

N = 600
LAST, DS = date(2013, 2, 1), date(2013, 2, 2)
NOON = datetime(2013, 2, 2, 12, tzinfo=UTC)
FILE = """
name = "small"
task = "multiclass"

[instances]
columns = { price = { type = "float32" } }

[labels]
label = "y"
classes = CLASSES
columns = { y = { type = "float64" } }

[features]
price = { kind = "number" }

[schedule]
drift = 0.1
"""
# What a pod that runs `due` need not have.
BLOCKED = """
import sys
from importlib.abc import MetaPathFinder

class Blocked(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pyspark", "delta", "torch", "pandas"):
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, Blocked())
from tenforward import main
sys.exit(main(["due", *sys.argv[1:]]))
"""


def write_day(root: Path, classes: int) -> Path:
    """A refresh of the day before, and a day of labelled records whose losses are distributed as
    they were then. The file of the pipeline."""
    file = root / "small.toml"
    file.write_text(FILE.replace("CLASSES", str(classes)))
    pipeline = load_pipeline(file)
    for table in all_tables(pipeline).values():
        create(root, table)
    given, label = answers(classes, seed=1)
    edges = np.quantile(loss("multiclass", given, label), np.arange(1, 10) / 10)
    before = {"loss_distribution": {"edges": edges.tolist(), "shares": [0.1] * 10}}
    rows = {"price": np.zeros(4, np.float32), "label": np.zeros(4, np.float32)}
    write_refresh(root, pipeline, "small-1", rows, rows, report=json.dumps(before))
    given, label = answers(classes, seed=2)
    moments = pa.array([NOON] * N, pa.timestamp("us", tz="UTC"))
    common = {"instance_id": [f"i{i}" for i in range(N)], "event_date": [DS] * N}
    name = "logits" if classes <= 16 else "statistics"
    records = common | {
        "event_time": moments, "model_version": ["1"] * N, "batch_id": ["b"] * N,
        "recorded_at": moments, "segments": [[]] * N, name: list(given.astype(np.float32)),
    }  # fmt: skip
    labels = common | {"known_at": moments, "y": label}
    append(root, pipeline, "forward_records", records)
    append(root, pipeline, "labels", labels)
    return file


def answers(classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What a record keeps of N answers, and the labels."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(N, classes))
    label = random.integers(0, classes, N).astype(np.float64)
    return logits if classes <= 16 else statistics(logits).astype(np.float64), label


def append(root: Path, pipeline: Pipeline, name: str, columns: dict[str, Any]) -> None:
    """Rows to a table of the warehouse; columns that are not given are null."""
    schema = all_tables(pipeline)[name].arrow_schema
    length = len(columns["instance_id"])
    arrays = [
        pa.array(columns[field.name], field.type)
        if field.name in columns
        else pa.nulls(length, field.type)
        for field in schema
    ]
    write_deltalake(str(root / name), pa.table(arrays, schema=schema), mode="append")


@pytest.mark.parametrize("classes", [10, 40])
def test_drift_is_told_of_logits_and_of_statistics_of_many_classes(tmp_path, classes):
    pipeline = load_pipeline(write_day(tmp_path, classes))
    told = due.due(pipeline, str(tmp_path), DS)
    assert told["new_records"] == N
    assert 0 < told["drift"] < 0.1
    assert told["status"] == "not due"


def test_what_selection_would_reject_or_wait_for_is_not_new(tmp_path):
    pipeline = load_pipeline(write_day(tmp_path, 10))
    later = NOON + timedelta(minutes=1)
    moments = [later, later, NOON + timedelta(days=1)]
    labels = {"instance_id": ["i0", "i1", "i2"], "y": [99.0, None, 3.0], "known_at": moments}
    append(tmp_path, pipeline, "labels", labels | {"event_date": [DS] * 3})
    told = due.due(pipeline, str(tmp_path), DS)
    # No class, so the label of before stands; taken back; not known yet.
    assert told["new_records"] == N - 1


SERVED = {"max_loss": 0.45, "drift": 50.0}  # which these losses do not reach


@pytest.mark.parametrize(
    ("cut", "change", "status"),
    [
        (DS, {}, "due"),
        (LAST, {}, "not due"),  # known to the last refresh
        (DS + timedelta(days=1), {}, "not due"),  # not known yet
        (DS, {"matured": 99}, "not due"),  # too few to judge
        (DS, {"loss_low": 0.44}, "not due"),  # not surely beyond
        (DS, {"segment": "shop", "level": "north"}, "not due"),
    ],
)
def test_a_served_loss_beyond_its_limit_since_the_last_refresh_makes_a_day_due(
    tmp_path, cut, change, status
):
    file = write_day(tmp_path, 10)
    pipeline = load_pipeline(file, {f"schedule.{name}": value for name, value in SERVED.items()})
    served = row(LAST, cut=cut_of(cut), segment_drift=None, **change)
    rows = pa.Table.from_pylist([served], all_tables(pipeline)["performance"].arrow_schema)
    write_deltalake(str(tmp_path / "performance"), rows, mode="append")
    told = due.due(pipeline, str(tmp_path), DS)
    assert told["status"] == status
    if status == "due":
        assert "loss 0.5, schedule.max_loss is 0.45" in told["reason"]


def test_without_a_condition_on_records_none_are_read(tmp_path):
    file = write_day(tmp_path, 10)
    text = file.read_text().replace("drift = 0.1", "max_calibration_gap = 0.1")
    file.write_text(text + "[monitor]\n")
    told = due.due(load_pipeline(file), str(tmp_path), DS)
    assert told["status"] == "not due"
    assert "new_records" not in told


def test_due_needs_no_spark_no_torch_and_no_pandas(tmp_path):
    file = write_day(tmp_path, 40)
    where = ["--pipeline", str(file), "--warehouse", str(tmp_path), "--ds", str(DS)]
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, *where], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["new_records"] == N
