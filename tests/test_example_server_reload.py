"""The example server while champions change: every record has the version that answered it."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from demo.example_server import create_app
from inference.encoding import encode
from inference.scorer import load_scorer
from reference.plain_tables import record_tables, stored
from tests.helpers.trainer_tables import small_pipeline
from tests.helpers.two_versions import RAW, promote, registry_of, two_bundles

PIPELINE = small_pipeline(segments=["shop"])
CLIENTS, PROMOTIONS, ROWS = 4, 6, len(RAW["age"])


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_bundles(tmp_path_factory.mktemp("bundles"), PIPELINE)


@pytest.fixture
def root(bundles: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse whose version 1 serves, with the recorder's tables."""
    registry_of(bundles, tmp_path / "warehouse", tmp_path_factory.getbasetemp())
    return record_tables(tmp_path / "warehouse")


def asked(number: int) -> dict[str, Any]:
    """One request of all rows, with ids of its own."""
    return {
        "ids": [f"{number}-{row}" for row in range(ROWS)],
        "event_times": ["2026-01-05T12:00:00Z"] * ROWS,
        "segments": {"shop": RAW["shop"]},
        "features": RAW,
    }


def test_no_request_is_lost_and_each_record_names_the_version_that_answered(
    root: Path, bundles: Path, tmp_path: Path
) -> None:
    app = create_app(PIPELINE, str(root), tmp_path / "journal", every_s=0.02)
    numbers, stop = count(), threading.Event()

    def client_of(client: TestClient) -> dict[str, tuple[float, str]]:
        """Requests until it is told to stop; prediction and version by instance."""
        told: dict[str, tuple[float, str]] = {}
        while not stop.is_set():
            request = asked(next(numbers))
            answer = client.post("/score", json=request)
            assert answer.status_code == 200, answer.text
            body = answer.json()
            versions = [body["model_version"]] * ROWS
            told |= dict(
                zip(request["ids"], zip(body["predictions"], versions, strict=True), strict=True)
            )
        return told

    def reloads(client: TestClient) -> int:
        lines = client.get("/metrics").text.splitlines()
        (line,) = (one for one in lines if one.startswith("tenforward_champion_reloads_total "))
        return int(line.split()[1])

    with TestClient(app) as client, ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(client_of, client) for _ in range(CLIENTS)]
        try:
            for place in range(PROMOTIONS):
                promote(root, 2 - place % 2)
                while reloads(client) <= place:
                    assert not any(one.done() for one in running), [r.result() for r in running]
        finally:
            stop.set()
        told = {name: one for part in running for name, one in part.result().items()}
    records = stored(root)
    assert {r["instance_id"]: (r["prediction"], r["model_version"]) for r in records} == told
    assert len(records) == len(told) == next(numbers) * ROWS
    assert {version for _, version in told.values()} == {"1", "2"}
    columns = encode(PIPELINE, RAW)
    for version in ("1", "2"):
        scored = load_scorer(bundles / version).score(columns)
        for record in (one for one in records if one["model_version"] == version):
            row = int(record["instance_id"].split("-")[1])
            assert record["prediction"] == scored.prediction[row]
            np.testing.assert_array_equal(record["sketch"], scored.sketch[row])
