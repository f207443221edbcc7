"""A recorder of flights, as several tests open it, and a request's time and keys."""

from datetime import UTC, datetime
from pathlib import Path

from inference.recorder import ForwardRecorder
from schemas.pipeline import load_pipeline
from tests.helpers.flights_loop import PIPELINE

FLIGHTS = load_pipeline(PIPELINE)
ASKED = datetime(2013, 1, 7, 12, tzinfo=UTC)
KEYS = {"origin": ["JFK", None], "carrier": ["UA", "AA"]}


def opened(root: Path, **settings) -> ForwardRecorder:
    settings = {"file_age_s": 0.2, "journal": root / "journal", "model_version": "3"} | settings
    return ForwardRecorder(FLIGHTS, warehouse=str(root), **settings)
