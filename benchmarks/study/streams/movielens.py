"""Will a user give a film four stars or more? MovieLens 100k (GroupLens), from the package recbole.

100,000 real ratings in the order of time, 1997-09 to 1998-04, of which a real day holds 1 to 3,550.
The days of the study are invented: 1,000 ratings each. The terms allow no redistribution, so the
file stays in the package.
"""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.study.stream import ONE_PASS, Stream, planned
from benchmarks.study.streams.fetched import fetched
from benchmarks.study.streams.table import codes, dated
from schemas.pipeline import Pipeline

PER_DAY, LIKED = 1000, 4.0
# Means of few ratings are drawn to one half, as if so many more had been seen.
IMAGINED, IMAGINED_MEAN = 4.0, 0.5
AGES = {"under 25": 25, "25 to 34": 35, "35 to 44": 45, "45 and over": 200}  # below which age
# Codes: 943 users and 1,682 films by their numbers from 1 on, the others by the alphabet.
CATEGORIES = {
    "user": 1024,
    "film": 2048,
    "gender": 3,
    "occupation": 22,
    "genre": 21,  # a film without a second one has the genre ""
    "second_genre": 21,
    "hour": 25,
    "weekday": 8,
}
NUMBERS = {
    "age": "Years.",
    "release_year": "Of the film.",
    "user_liked": "Share liked of the user's ratings of earlier days, drawn to one half.",
    "user_ratings": "Logarithm of one more than their number.",
    "film_liked": "Share liked of the film's ratings of earlier days, drawn to one half.",
    "film_ratings": "Logarithm of one more than their number.",
}


def movielens(folder: Path) -> Stream:
    """Development."""
    ratings = read_ratings(fetched(folder, "recbole-1.2.1-py3-none-any.whl"))
    liked = (ratings["rating"] >= LIKED).to_numpy(np.float32)
    bands = np.searchsorted(list(AGES.values()), ratings["age"].to_numpy(), side="right")
    rows = dated("rating", PER_DAY, features(ratings, liked), liked, [np.array(list(AGES))[bands]])
    return planned("movielens", "development", pipeline(), rows, learnt_days=10, tuning=20)


def read_ratings(wheel: bytes) -> pd.DataFrame:
    """One row a rating, in the order of time, with what is known of its user and film."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        ratings, users, films = (_read(archive, what) for what in ("inter", "user", "item"))
    joined = ratings.merge(users, on="user_id", how="left").merge(films, on="item_id", how="left")
    return joined.sort_values(["timestamp", "user_id", "item_id"], ignore_index=True)


def features(ratings: pd.DataFrame, liked: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """The encoded features, (n,) each, of ratings in the order of time."""
    day = np.arange(len(ratings)) // PER_DAY
    user, film = ratings["user_id"].to_numpy(), ratings["item_id"].to_numpy()
    genres = ratings["class"].fillna("").str.split(" ")
    first, second = (genres.str[place].fillna("").to_numpy(str) for place in (0, 1))
    named = np.unique([*first, *second])
    moment = pd.to_datetime(ratings["timestamp"], unit="s")
    user_liked, user_ratings = past(user, day, liked)
    film_liked, film_ratings = past(film, day, liked)
    categories = {
        "user": user,
        "film": film,
        "gender": codes(ratings["gender"].to_numpy(str)),
        "occupation": codes(ratings["occupation"].to_numpy(str)),
        "genre": np.searchsorted(named, first) + 1,
        "second_genre": np.searchsorted(named, second) + 1,
        "hour": moment.dt.hour + 1,
        "weekday": moment.dt.weekday + 1,
    }
    numbers = {
        "age": ratings["age"],
        "release_year": pd.to_numeric(ratings["release_year"], errors="coerce").fillna(1995),
        "user_liked": user_liked,
        "user_ratings": np.log1p(user_ratings),
        "film_liked": film_liked,
        "film_ratings": np.log1p(film_ratings),
    }
    typed = {name: np.asarray(values, np.int32) for name, values in categories.items()}
    return typed | {name: np.asarray(values, np.float32) for name, values in numbers.items()}


def past(
    key: NDArray[Any], day: NDArray[np.int64], liked: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each row (n,) of a key: the mean of `liked` over the key's rows of days before its own,
    drawn to one half, and their number."""
    daily = pd.DataFrame({"key": key, "day": day, "sum": liked.astype(np.float64), "count": 1.0})
    daily = daily.groupby(["key", "day"], as_index=False).sum()
    up_to = daily.groupby("key")[["sum", "count"]].cumsum()
    before = daily[["key", "day"]].join(up_to - daily[["sum", "count"]])
    of_row = pd.DataFrame({"key": key, "day": day}).merge(before, on=["key", "day"], how="left")
    count = of_row["count"].to_numpy()
    mean = (of_row["sum"].to_numpy() + IMAGINED * IMAGINED_MEAN) / (count + IMAGINED)
    return mean, count


def pipeline() -> Pipeline:
    """A binary task of ids, attributes and past means."""
    columns = {name: {"type": "int32", "doc": "A category."} for name in CATEGORIES}
    columns |= {name: {"type": "float32", "doc": doc} for name, doc in NUMBERS.items()}
    columns["age_band"] = {"type": "string", "doc": "Years."}
    categories = {name: {"kind": "category", "buckets": n} for name, n in CATEGORIES.items()}
    return Pipeline.model_validate(
        {
            "name": "movielens",
            "task": "binary",
            "instances": {"segments": ["age_band"], "columns": columns},
            "labels": {
                "label": "liked",
                "columns": {"liked": {"type": "float64", "doc": "1 from four stars on, else 0."}},
            },
            "features": categories | {name: {"kind": "number"} for name in NUMBERS},
            "selection": {"window_days": 20},
            "model": {"name": "embedding-mlp", "hidden": [64, 32]},
            "training": ONE_PASS,
        }
    )


def _read(archive: zipfile.ZipFile, what: str) -> pd.DataFrame:
    """One of the files, its columns without their types, as in `user_id:token`."""
    with archive.open(f"recbole/dataset_example/ml-100k/ml-100k.{what}") as file:
        frame = pd.read_csv(file, sep="\t")
    return frame.rename(columns=lambda name: name.partition(":")[0])
