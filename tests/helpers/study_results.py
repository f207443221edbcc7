"""Made-up results of a study: losses of known effects of days, seeds and arms, as its CSV files."""

import csv
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = [
    *("data", "arm", "amount", "seed", "day", "rows", "loss", "auc", "observed", "predicted"),
    *("worst_segment", "forward_passes", "backward_passes", "record_bytes", "feature_bytes"),
    *("select_seconds", "fit_seconds"),
]
TUNING = [
    *("data", "arm", "amount", "batch_size", "learning_rate", "window_days"),
    *("seed", "loss", "seconds", "chosen"),
]
FIRST = date(2013, 9, 7)
ARMS = {"uniform": 0.0, "calibrated": 0.85, "max-loss": -30.0, "obftf": -0.2}  # share closed
GAP = {"flights-autumn": 0.006, "linear": 0.02, "fashion": 0.0, "flights": 0.006}
BINARY = ("flights", "flights-autumn")


def losses(
    random: np.random.Generator,
    arms: Mapping[str, float],
    seeds: int,
    days: int,
    *,
    day: float = 0.02,
    seed: float = 0.001,
    both: float = 0.0005,
    noise: float = 0.001,
) -> np.ndarray:
    """Losses (arms, seeds, days) around each arm's own mean.

    Standard deviations: of what a day does to all arms and of a tenth of it that it does to one; of
    a seed and arm, of a seed, day and arm; noise: of a day and arm.
    """
    own = np.array(list(arms.values()))[:, None, None]
    shared = day * random.standard_normal((1, 1, days))
    by_day = noise * random.standard_normal((len(arms), 1, days))
    by_seed = seed * random.standard_normal((len(arms), seeds, 1))
    rest = both * random.standard_normal((len(arms), seeds, days))
    return own + shared + by_day + by_seed + rest


def lines(
    gaps: Mapping[str, float] = GAP,
    amounts: tuple[float, ...] = (0.05, 0.1),
    arms: Mapping[str, float] = ARMS,
    seeds: int = 4,
    days: int = 9,
) -> list[dict[str, Any]]:
    """Lines of results.csv, in its order."""
    random = np.random.default_rng(17)
    found: list[dict[str, Any]] = []
    for data, gap in gaps.items():
        means = {
            (arm, amount): 0.5 + (1 - share) * gap * (0.1 / amount) ** 0.5
            for amount in amounts
            for arm, share in arms.items()
        }
        means |= {("all", 1.0): 0.5, ("frozen", 0.0): 0.5 + 4 * gap + 0.002}
        drawn = losses(random, {str(k): v for k, v in means.items()}, seeds, days)  # type: ignore[misc]
        rows = random.integers(900, 1100, days)
        for (arm, amount), own in zip(means, drawn, strict=True):
            found += [
                _line(data, arm, amount, seed, day, int(rows[day]), float(own[seed, day]))
                for seed in range(seeds)
                for day in range(days)
            ]
    return sorted(found, key=lambda one: tuple(one[name] for name in RESULTS[:5]))


def _line(
    data: str, arm: str, amount: float, seed: int, day: int, rows: int, loss: float
) -> dict[str, Any]:
    binary = data in BINARY
    return {
        "data": data,
        "arm": arm,
        "amount": amount,
        "seed": seed,
        "day": FIRST + timedelta(7 * day),
        "rows": rows,
        "loss": round(loss, 6),
        "auc": round(0.9 - loss / 3, 6) if binary else "",
        "observed": 0.25 if binary else "",
        "predicted": 0.24 if binary else "",
        "worst_segment": round(1.3 * loss, 6),
        "forward_passes": 1000,
        "backward_passes": round(1000 * amount),
        "record_bytes": 0 if arm == "uniform" else 128_000,
        "feature_bytes": round(512_000 * amount),
        "select_seconds": 0.25,
        "fit_seconds": round(2 * amount, 3),
    }


def trials(data: tuple[str, ...] = ("flights-autumn", "linear")) -> list[dict[str, Any]]:
    """Lines of tuning.csv: two settings of two arms, two seeds, the second chosen."""
    return [
        {
            "data": name,
            "arm": arm,
            "amount": amount,
            "batch_size": 32,
            "learning_rate": rate,
            "window_days": 28,
            "seed": seed,
            "loss": 0.5,
            "seconds": 9.0,
            "chosen": "yes" if rate == 0.003 else "",
        }
        for name in data
        for arm, amount in (("all", 1.0), ("calibrated", 0.1), ("uniform", 0.1))
        for rate in (0.001, 0.003)
        for seed in range(2)
    ]


def write(path: Path, columns: list[str], found: list[dict[str, Any]]) -> None:
    """A CSV file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)


def filled(folder: Path) -> Path:
    """The folder, with results and trials in it."""
    write(folder / "results.csv", RESULTS, lines())
    write(folder / "tuning.csv", TUNING, trials())
    return folder
