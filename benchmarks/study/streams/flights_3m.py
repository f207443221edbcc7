"""Will a flight be more than 15 minutes late? Flights in the USA, January to June 2001.

From the package vega-datasets: 3,000,000 rows of date, delay, distance, origin and destination, of
which about one in five is taken, by a hash of its place in the file, and another fifth for the
second confirmation. It is not documented whether `date` is the planned departure or the actual one,
nor of what `delay` is the delay: `date` is taken as planned, in UTC. When a label came is not
recorded either: it is taken as the end of a flight at 450 miles an hour, half an hour on the ground
and the delay.
"""

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.study.stream import ONE_PASS, Part, Stream, planned
from benchmarks.study.streams.fetched import fetched
from benchmarks.study.streams.table import codes, table
from schemas.pipeline import Pipeline

LATE, ONE_IN = 15, 5
EARLIEST = -90  # minutes: what is below are errors of recording
SPEED, ON_THE_GROUND = 450.0, 30.0  # miles an hour; minutes
BANDS = {"under 400": 400, "400 to 799": 800, "800 to 1,599": 1600, "1,600 and over": 100_000}
LAST = pd.Timestamp("2001-06-30")  # of the day after, six rows at midnight
CATEGORIES = {"origin": 512, "destination": 512, "hour": 25, "weekday": 8}
NUMBERS = {"minute_of_day": "Of the departure, from midnight.", "distance": "Miles."}


def flights_3m(folder: Path) -> Stream:
    """Confirmation."""
    return _stream(folder, "flights-3m", "confirmation", 0)


def flights_3m_other(folder: Path) -> Stream:
    """Second confirmation: other rows of the same months."""
    return _stream(folder, "flights-3m-other", "second", 1)


def _stream(folder: Path, name: str, part: Part, fifth: int) -> Stream:
    with tarfile.open(fileobj=io.BytesIO(fetched(folder, "vega-datasets-3.2.1.tgz"))) as archive:
        member = archive.extractfile("package/data/flights-3m.parquet")
        assert member is not None
        flights = sample(clean(pd.read_parquet(io.BytesIO(member.read()))), fifth)
    moment, delay = flights["date"].dt, flights["delay"]
    minutes = ON_THE_GROUND + flights["distance"] / SPEED * 60 + delay.clip(lower=0)
    bands = np.searchsorted(list(BANDS.values()), flights["distance"].to_numpy(), side="right")
    rows = table(
        [f"flight-{place:07d}" for place in flights.index],
        moment.floor("D").to_numpy(),
        (flights["date"] + pd.to_timedelta(minutes.round(), unit="min")).to_numpy(),
        features(flights),
        (delay > LATE).to_numpy(np.float32),
        [np.array(list(BANDS))[bands]],
    )
    return planned(name, part, pipeline(), rows, step=7, learnt_days=7, tuning=6)


def clean(flights: pd.DataFrame) -> pd.DataFrame:
    """Without repeated rows, errors of recording and the day that has hardly begun; the index is
    the place in the file."""
    flights = flights.drop_duplicates()
    return flights[(flights["delay"] >= EARLIEST) & (flights["date"].dt.floor("D") <= LAST)]


def sample(flights: pd.DataFrame, fifth: int) -> pd.DataFrame:
    """About one row in five, by the finalizer of SplitMix64 (Steele, Lea, Flood 2014) over its
    index; the fifths, 0 to 4, have no row in common."""
    word = flights.index.to_numpy(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        word = (word ^ (word >> np.uint64(shift))) * np.uint64(factor)
    word ^= word >> np.uint64(31)
    return flights[word % np.uint64(ONE_IN) == fifth]


def features(flights: pd.DataFrame) -> dict[str, NDArray[Any]]:
    """The encoded features, (n,) each; airports by the alphabet."""
    moment = flights["date"].dt
    names = np.concatenate([flights["origin"], flights["destination"]]).astype(str)
    airports = codes(names).reshape(2, -1)
    minute = moment.hour * 60 + moment.minute
    return {
        "origin": airports[0],
        "destination": airports[1],
        "hour": (moment.hour + 1).to_numpy(np.int32),
        "weekday": (moment.weekday + 1).to_numpy(np.int32),
        "minute_of_day": minute.to_numpy(np.float32),
        "distance": flights["distance"].to_numpy(np.float32),
    }


def pipeline() -> Pipeline:
    """A binary task of what is planned."""
    columns = {name: {"type": "int32", "doc": "A category."} for name in CATEGORIES}
    columns |= {name: {"type": "float32", "doc": doc} for name, doc in NUMBERS.items()}
    columns["distance_band"] = {"type": "string", "doc": "Miles."}
    categories = {name: {"kind": "category", "buckets": n} for name, n in CATEGORIES.items()}
    return Pipeline.model_validate(
        {
            "name": "flights_3m",
            "task": "binary",
            "instances": {"segments": ["distance_band"], "columns": columns},
            "labels": {
                "label": "late",
                "columns": {"late": {"type": "float64", "doc": "1 if over 15 minutes, else 0."}},
            },
            "features": categories | {name: {"kind": "number"} for name in NUMBERS},
            "selection": {"window_days": 28},
            "model": {"name": "embedding-mlp", "hidden": [64, 32]},
            "training": ONE_PASS,
        }
    )
