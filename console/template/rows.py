"""Made-up orders for the tables of NAME.toml, fourteen days of them: run it once, after init.

python NAME_rows.py WAREHOUSE

In production your own jobs append such rows, with Spark, delta-rs or whatever else writes Delta.
"""

import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

DAYS, A_DAY, CUSTOMERS = 14, 400, 300
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
RNG = np.random.default_rng(1)


def main(warehouse: str) -> None:
    """Append the rows of every table that a pipeline's owner fills."""
    habit = RNG.beta(1, 4, CUSTOMERS)  # of each customer: the share cancelled
    names = np.array([f"c{number}" for number in range(CUSTOMERS)])
    append(warehouse, "features/customers", nights(names, habit))
    for day in range(DAYS):
        orders, answers = ordered(FIRST + timedelta(days=day), names, habit)
        append(warehouse, "instances", orders)
        append(warehouse, "labels", answers)


def nights(names: np.ndarray, habit: np.ndarray) -> pa.Table:
    """The view `customers`: a row a customer and night, known one hour later."""
    as_of = [FIRST + timedelta(days=day) for day in range(DAYS) for _ in names]
    return pa.table(
        {
            "customer": np.tile(names, DAYS),
            "as_of": moments(as_of),
            "computed_at": moments(moment + timedelta(hours=1) for moment in as_of),
            "cancelled_share": np.tile(habit, DAYS).astype(np.float32),
        }
    )


def ordered(day: datetime, names: np.ndarray, habit: np.ndarray) -> tuple[pa.Table, pa.Table]:
    """The orders of a day, and six hours later whether they were cancelled."""
    who = RNG.integers(0, CUSTOMERS, A_DAY)
    price = RNG.gamma(2.0, 25.0, A_DAY).astype(np.float32)
    channel = RNG.choice(["app", "shop", "web"], A_DAY)
    when = [day + timedelta(hours=2, seconds=int(s)) for s in RNG.integers(0, 79_000, A_DAY)]
    ids = [f"{day:%Y%m%d}-{number}" for number in range(A_DAY)]
    dates = pa.array([day.date()] * A_DAY)
    logit = -2.5 + 5 * habit[who] + price / 60 + (channel == "web")
    gone = RNG.random(A_DAY) < 1 / (1 + np.exp(-logit))
    orders = pa.table(
        {
            "instance_id": ids,
            "event_time": moments(when),
            "event_date": dates,
            "channel": channel,
            "customer": names[who],
            "price": price,
            "items": RNG.integers(1, 5, A_DAY).astype(np.int32),
        }
    )
    answers = pa.table(
        {
            "instance_id": ids,
            "event_date": dates,
            "known_at": moments(moment + timedelta(hours=6) for moment in when),
            "cancelled": gone.astype(np.float64),
        }
    )
    return orders, answers


def moments(times) -> pa.Array:
    """UTC, in microseconds: the one form of a moment that every writer and reader here takes."""
    return pa.array(times, pa.timestamp("us", "UTC"))


def append(warehouse: str, table: str, rows: pa.Table) -> None:
    """One commit; the tables' own rules refuse rows that do not fit."""
    write_deltalake(f"{warehouse}/{table}", rows, mode="append")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "warehouse")
