"""Is a model trained on a selected sample calibrated, and how hard should its parent pull?

Windows of 28 days of real flights, one after the other (`benchmarks/flight_windows.py`).
Calibration is measured on all candidates of a window: a hold-out of a few weeks is too small for
the question (of 1,145 flights, a quarter late, chance alone moves the ratio of predicted to
observed by 5 %), and the undrawn alone would not do, because a draw that favours late flights
leaves fewer of them. The loss is measured on the week after.

    python -m benchmarks.calibration --warehouse W

W is filled first if it is empty; the joined features stay there for the next run.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.flight_windows import Window, drawn, features, walk, windows_pipeline
from demo.stream import rows_of
from schemas.pipeline import Pipeline
from spark_jobs.selection.policies import policy_for
from spark_jobs.selection.policy import Policy
from trainer.data.reader import Rows
from trainer.fitting.pull import with_pull
from trainer.fitting.trials import fit_rows
from trainer.models.model import model_card
from trainer.promotion.judge import measure

ARMS: dict[str, Policy | None] = {
    "calibrated": policy_for("calibrated", "binary"),
    "the same, weights not calibrated": policy_for("calibrated", "binary", calibrated=False),
    "uniform": policy_for("uniform", "binary"),
    "all candidates": None,
}
PULLS = (0.0, 0.003, 0.01, 0.03, 0.1)


@dataclass(frozen=True)
class Outcome:
    """One fit."""

    ratio: float  # predicted to observed, over all candidates of the window
    week: float  # log loss of the week after


def samples(
    pipeline: Pipeline, window: Window, policy: Policy | None, seeds: int
) -> Iterator[tuple[int, Rows]]:
    """A draw a seed, which is that of the fit as well; all candidates once, without a policy."""
    if policy is None:
        yield 1, rows_of(pipeline, window.flights)
        return
    for seed in range(1, 1 + seeds):
        yield seed, drawn(pipeline, window.logged, window.flights, policy, seed)


def outcome(pipeline: Pipeline, window: Window, rows: Rows, everything: Rows, seed: int) -> Outcome:
    """A fit from the window's parent."""
    settings = pipeline.training.model_copy(update={"seed": seed})
    card = model_card(pipeline, "none", 1)
    changed = pipeline.model_copy(update={"training": settings})
    model, _ = fit_rows(changed, card, rows, window.parent)
    asked = measure(model, card, everything, settings)
    week = measure(model, card, window.after, settings)
    return Outcome(asked["calibration_ratio"], week["loss"])


def calibration(pipeline: Pipeline, windows: list[Window], seeds: int) -> None:
    """The ratio of each arm: its mean, its spread, how far it gets, how often it is near 1."""
    print(f"{'predicted to observed':<34}  mean  spread  farthest  within 2 %")
    for name, policy in ARMS.items():
        fits = [
            outcome(pipeline, window, rows, rows_of(pipeline, window.flights), seed).ratio
            for window in windows
            for seed, rows in samples(pipeline, window, policy, seeds)
        ]
        off = np.abs(np.array(fits) - 1)
        print(
            f"{name:<34}{np.mean(fits):>6.3f}{np.std(fits):>8.4f}{off.max():>10.3f}"
            f"{f'{(off <= 0.02).sum()} of {len(off)}':>12}",
            flush=True,
        )


def week_losses(pipeline: Pipeline, window: Window, seeds: int) -> list[float]:
    """The log loss of the week after a window by pull, mean over the seeds."""
    everything = rows_of(pipeline, window.flights)
    losses = [
        [outcome(with_pull(pipeline, pull), window, rows, everything, seed).week for pull in PULLS]
        for seed, rows in samples(pipeline, window, ARMS["calibrated"], seeds)
    ]
    return [float(loss) for loss in np.mean(losses, axis=0)]


def pulls(pipeline: Pipeline, windows: list[Window], seeds: int) -> None:
    """The log loss of the week after each window by pull, and what earlier weeks would choose."""
    print("\nlog loss of the week after, by pull")
    print("window     " + "".join(f"{pull:>9g}" for pull in PULLS))
    rows = []
    for window in windows:
        rows.append(week_losses(pipeline, window, seeds))
        print(f"{window.first} " + "".join(f"{loss:>9.4f}" for loss in rows[-1]), flush=True)
    weeks = np.array(rows)
    print(f"{'mean':<11}" + "".join(f"{loss:>9.4f}" for loss in weeks.mean(axis=0)))
    later, before = weeks[1:], weeks.cumsum(axis=0)[:-1]
    print(f"{'from the 2nd':<11}" + "".join(f"{loss:>9.4f}" for loss in later.mean(axis=0)))
    for name, known in {"the week before": weeks[:-1], "all weeks before": before}.items():
        chosen = later[np.arange(len(later)), known.argmin(axis=1)].mean()
        print(f"from the 2nd, the pull that was best in {name}: {chosen:.4f}")


def main(argv: list[str] | None = None) -> None:
    """Both tables."""
    line = argparse.ArgumentParser(description=__doc__)
    line.add_argument("--warehouse", required=True)
    line.add_argument("--windows", type=int, default=8)
    line.add_argument("--seeds", type=int, default=4)
    args = line.parse_args(argv)
    pipeline = windows_pipeline()
    windows = list(walk(pipeline, features(args.warehouse), args.windows))
    print(f"{args.windows} windows from {windows[0].first}, {args.seeds} seeds")
    calibration(pipeline, windows, args.seeds)
    pulls(pipeline, windows, args.seeds)


if __name__ == "__main__":
    main()
