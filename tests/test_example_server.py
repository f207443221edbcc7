"""The example server: what it answers and records is what the scoring job answers and records."""

from datetime import date
from operator import itemgetter

import pytest
from fastapi.testclient import TestClient
from pyspark.sql import functions as F

from demo.example_server import create_app
from demo.online_day import requests
from spark_jobs.score import score_day
from spark_jobs.select_sample import select_day
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.flights_loop import twin_of

NEWEST = date(2013, 1, 9)
SAME = ["instance_id", "event_time", "model_version", "prediction", "segments", "sketch"]


@pytest.fixture(scope="module")
def served(loop, tmp_path_factory) -> Warehouse:
    """A warehouse whose champion scored a day, selected, then answered 300 of its flights."""
    folder = tmp_path_factory.mktemp("online")
    warehouse = twin_of(loop["warehouse"], folder)
    score_day(warehouse, NEWEST)
    select_day(warehouse, NEWEST)
    app = create_app(warehouse.pipeline, warehouse.root, folder / "journal")
    with TestClient(app) as client:
        for request in list(requests(warehouse, NEWEST, 100))[:3]:
            answer = client.post("/score", json=request)
            assert answer.status_code == 200, answer.text
            assert len(answer.json()["predictions"]) == 100
        refused = client.post("/score", json=request | {"features": {}})
        assert refused.status_code == 422
        wrong = request["features"] | {"carrier": [5] * 100}
        refused = client.post("/score", json=request | {"features": wrong})
        assert (refused.status_code, "features.carrier = 5" in refused.text) == (422, True)
        assert "tenforward_recorder_recorded_total 300\n" in client.get("/metrics").text
    return warehouse


def test_online_and_batch_records_are_the_same(served):
    records = served.read("forward_records").where(F.col("event_date") == F.lit(NEWEST))
    by_recorder = F.col("batch_id").startswith("recorder/")
    online = [row.asDict() for row in records.where(by_recorder).select(*SAME).collect()]
    ids = [row["instance_id"] for row in online]
    batch = records.where(~by_recorder & F.col("instance_id").isin(ids)).select(*SAME).collect()
    place = itemgetter("instance_id")
    assert len(online) == 300
    assert sorted(online, key=place) == sorted((row.asDict() for row in batch), key=place)


def test_law_1_selection_reads_both_writers_records_and_draws_the_same_sample(served):
    before = select_day(served, NEWEST)
    assert before["status"] == "already done"
    again = select_day(served, NEWEST, force=True)
    assert again["status"] == "done"
    assert again["sample_digest"] == before["sample_digest"]
