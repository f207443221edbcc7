"""The study's data by name: each takes the folder that `setup/study_data.sh` filled."""

from collections.abc import Callable
from pathlib import Path

from benchmarks.study.stream import Stream
from benchmarks.study.streams import flights, flights_3m, images, linear, mlbench, movielens

STREAMS: dict[str, Callable[[Path], Stream]] = {
    "flights": flights.flights,
    "movielens": movielens.movielens,
    "mnist": images.mnist,
    "delay": flights.delay,
    "digits": images.digits,
    "flights-autumn": flights.flights_autumn,
    "fashion": images.fashion,
    "flights-3m": flights_3m.flights_3m,
    "linear": linear.linear,
    "linear-outliers": linear.linear_outliers,
    "shuttle": mlbench.shuttle,
    "letters": mlbench.letters,
    "flights-3m-other": flights_3m.flights_3m_other,
    "linear-again": linear.linear_again,
    "linear-outliers-again": linear.linear_outliers_again,
}
