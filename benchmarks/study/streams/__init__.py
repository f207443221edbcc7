"""The study's data by name: each takes the folder that `setup/study_data.sh` filled."""

from collections.abc import Callable
from pathlib import Path

from benchmarks.study.stream import Stream
from benchmarks.study.streams.flights import flights, flights_autumn
from benchmarks.study.streams.images import digits, fashion, mnist

STREAMS: dict[str, Callable[[Path], Stream]] = {
    "flights": flights,
    "mnist": mnist,
    "digits": digits,
    "flights-autumn": flights_autumn,
    "fashion": fashion,
}
