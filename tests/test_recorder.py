"""The forward recorder: a request becomes records, or rejects with their reasons."""

import json
import math
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import pytest
import torch

from reference.plain_tables import record_tables, stored
from schemas import reasons
from tests.helpers.recording import ASKED, KEYS, opened


def test_a_request_becomes_records(tmp_path):
    root = record_tables(tmp_path)
    with opened(root) as recorder:
        sketch = torch.tensor([[0.5, 1.0], [2.0, 3.0]], requires_grad=True)
        recorder.record(
            [17, "b"], [ASKED, ASKED], torch.tensor([0.25, -1.5]), segments=KEYS, sketch=sketch
        )
    first, second = stored(root)
    moment = first.pop("recorded_at")
    batch = first.pop("batch_id")
    assert first == {
        "instance_id": "17",
        "event_time": ASKED,
        "event_date": date(2013, 1, 7),
        "model_version": "3",
        "prediction": 0.25,
        "logits": None,
        "statistics": None,
        "label": None,
        "loss": None,
        "segments": ["JFK", "UA"],
        "sketch": [0.5, 1.0],
        "propensity": None,
    }
    assert second["segments"] == ["", "AA"]
    assert datetime.now(UTC) - moment < timedelta(minutes=1)
    assert batch.startswith("recorder/")
    metrics = recorder.metrics()
    assert (metrics.recorded, metrics.written, metrics.rejected) == (2, 2, 0)
    assert "tenforward_recorder_written_total 2\n" in metrics.prometheus()


def test_the_recorder_needs_no_spark_no_torch_and_no_registry_client():
    heavy = "{'pyspark', 'torch', 'mlflow', 'pandas', 'spark_jobs'}"
    code = f"import inference.recorder, sys; sys.exit(str({heavy} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == ""


def test_probabilities_become_logits_and_the_impossible_ones_are_rejected(tmp_path):
    root = record_tables(tmp_path)
    with opened(root) as recorder:
        keys = {"origin": ["JFK"] * 4, "carrier": ["UA"] * 4}
        times = [ASKED] * 4
        recorder.record(
            ["a", "b", "c", "d"], times, [0.5, 0.9, 1.5, 1.0], segments=keys, kind="probability"
        )
    found = {row["instance_id"]: row["prediction"] for row in stored(root)}
    assert found == pytest.approx({"a": 0.0, "b": math.log(9), "d": math.log(1e7)}, rel=1e-6)
    (reject,) = stored(root, "forward_rejects")
    assert (reject["instance_id"], reject["reason"]) == ("c", reasons.NOT_A_PROBABILITY)
    assert json.loads(reject["record"])["probability"] == 1.5
    assert recorder.metrics().rejected == 1


def test_labels_that_are_known_at_once_are_in_the_records(tmp_path):
    root = record_tables(tmp_path)
    with opened(root) as recorder:
        keys = {"origin": ["JFK"] * 3, "carrier": ["UA"] * 3}
        recorder.record(
            ["a", "b", "c"], [ASKED] * 3, [0.5] * 3, segments=keys, labels=[1.0, None, math.nan]
        )
    assert [(row["instance_id"], row["label"]) for row in stored(root)] == [("a", 1.0), ("b", None)]
    (reject,) = stored(root, "forward_rejects")
    assert (reject["instance_id"], reject["reason"]) == ("c", reasons.NOT_FINITE)
    assert json.loads(reject["record"])["label"] == "NaN"
