"""Which settings suit one pass at one backward for ten forward passes?

Weekly refreshes of real flights from May to August 2013, weeks that `make demo` never reports:
closed loops in memory (`demo/twins.py`) at 0.1 backward passes per forward pass, one epoch. First
batch size by learning rate, then the pull at the best of these. Of the settings whose mean of both
arms, `calibrated` and uniform alike, is the least or within 0.0005 of it, less than seeds vary, the
one is chosen with which uniform does best: what `calibrated` is compared with shall be at its best.
The first model learns twelve days, once, with the same settings.

    python -m benchmarks.one_in_ten --warehouse W

W is filled first if it is empty; the joined features stay there for the next run.
"""

import argparse
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from demo.outcome import mean_loss
from demo.stream import between, labelled, rows_of, stream
from demo.twins import WEEK, arms, closed_loop
from schemas.pipeline import Pipeline, load_pipeline
from spark_jobs.ingest import ingest
from spark_jobs.storage.warehouse import Warehouse
from trainer.fitting.trials import fit_rows
from trainer.models.export import Loaded
from trainer.models.model import model_card

PIPELINE = "pipelines/flights.toml"
LEARNT = date(2013, 5, 1), date(2013, 5, 12)
DAYS = [LEARNT[1] + WEEK * (number + 1) for number in range(14)]
BATCHES, RATES, PULLS = (16, 32, 64), (0.001, 0.003, 0.01), (0.0, 0.001, 0.01, 0.1)
START_PULL, AMOUNT = 0.01, 0.1
ALIKE = 0.0005  # of the mean of both arms: less than the seeds of either vary


@dataclass(frozen=True)
class Setting:
    """What is tried."""

    batch_size: int
    learning_rate: float
    pull: float = START_PULL

    def of(self, pipeline: Pipeline) -> Pipeline:
        """The pipeline with one epoch of these settings."""
        changes = {**vars(self), "epochs": 1}
        return pipeline.model_copy(
            update={"training": pipeline.training.model_copy(update=changes)}
        )


def flights(warehouse: str) -> pa.Table:
    """Every flight of the weeks; kept in the warehouse."""
    kept = Path(warehouse) / "one_in_ten.parquet"
    if not kept.exists():
        tables, span = Warehouse(warehouse, load_pipeline(PIPELINE)), (LEARNT[0], DAYS[-1] + WEEK)
        ingest(tables, *span)
        pq.write_table(stream(tables, *span), kept)
    return pq.read_table(kept)


def losses(pipeline: Pipeline, table: pa.Table, setting: Setting, seed: int) -> dict[str, float]:
    """Log loss of the weeks after, by arm. One seed fits the first model, draws and shuffles."""
    tried, card = setting.of(pipeline), model_card(pipeline, "none", 1)
    learnt = labelled(between(table, *LEARNT))
    learnt = learnt.filter(pc.invert(learnt["held_out"]))
    training = tried.training.model_copy(update={"seed": tried.training.seed + seed})
    begun = tried.model_copy(update={"training": training})
    model, history = fit_rows(begun, card, rows_of(begun, learnt), None)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    first = Loaded(card, weights, optimizer=history.optimizer)
    found = arms(tried, AMOUNT)
    return {
        name: mean_loss(closed_loop(tried, table, found[name], first, DAYS, seed))
        for name in ("uniform", "calibrated")
    }


def best_of(pipeline: Pipeline, table: pa.Table, settings: list[Setting], seeds: int) -> Setting:
    """A line for each setting; the one that is chosen (see above)."""
    uniform, both = {}, {}
    for setting in settings:
        of_seeds = [losses(pipeline, table, setting, seed) for seed in range(seeds)]
        arm = {name: np.array([one[name] for one in of_seeds]) for name in of_seeds[0]}
        uniform[setting] = float(arm["uniform"].mean())
        both[setting] = float(np.mean([values.mean() for values in arm.values()]))
        spread = "".join(
            f"{values.mean():>9.4f} ({values.std(ddof=1):.4f})" for values in arm.values()
        )
        print(
            f"{setting.batch_size:>5}{setting.learning_rate:>8g}{setting.pull:>8g}{spread}"
            f"{both[setting]:>9.4f}",
            flush=True,
        )
    alike = [setting for setting in settings if both[setting] <= min(both.values()) + ALIKE]
    return min(alike, key=uniform.__getitem__)


def main(argv: list[str] | None = None) -> None:
    """The table, and the settings that it chooses."""
    line = argparse.ArgumentParser(prog="python -m benchmarks.one_in_ten", description=__doc__)
    line.formatter_class = argparse.RawDescriptionHelpFormatter
    line.add_argument("--warehouse", required=True)
    line.add_argument("--seeds", type=int, default=4)
    args = line.parse_args(argv)
    pipeline, table = load_pipeline(PIPELINE), flights(args.warehouse)
    print(f"{len(DAYS)} weekly refreshes from {DAYS[0]}, {args.seeds} seeds (their spread)")
    print("batch    rate    pull  uniform           calibrated        both")
    grid = [Setting(batch, rate) for batch in BATCHES for rate in RATES]
    best = best_of(pipeline, table, grid, args.seeds)
    pulls = [Setting(best.batch_size, best.learning_rate, pull) for pull in PULLS]
    chosen = best_of(pipeline, table, pulls, args.seeds)
    print(
        f"chosen: batch_size = {chosen.batch_size},"
        f" learning_rate = {chosen.learning_rate:g}, pull = {chosen.pull:g}"
    )


if __name__ == "__main__":
    main()
