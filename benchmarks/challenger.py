"""What a challenger's loss on all traffic costs in forward passes, by whom it is asked of.

Real flights in windows of 28 days (`benchmarks/flight_windows.py`): the champion answered for all,
the challenger is the model that was trained on the window before. How much more it loses is
estimated from a share of the rows, three ways: a hash hold-out, the mean of the paired differences;
a uniform draw, with what the records know of all rows; and the draw of `calibrated` with the same.

    python -m benchmarks.challenger --warehouse W --plot docs/challenger.svg

W is filled first if it is empty; the joined features stay there for the next run.
"""

import argparse
import warnings
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from benchmarks.flight_windows import drawn, features, walk, windows_pipeline
from benchmarks.study.plots import BLUE, OTHER, VERMILION, WIDTH, svg
from demo.stream import records
from schemas.pipeline import Pipeline
from spark_jobs.estimation.estimate import estimate
from spark_jobs.selection.draw import draw
from spark_jobs.selection.policies import policy_for
from spark_jobs.selection.policy import Policy
from spark_jobs.selection.tasks import sigmoid
from trainer.fitting.trials import fit_rows
from trainer.models.model import model_card

SHARES = (0.02, 0.05, 0.1, 0.2)
TICKS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05]
KNOWN = ["loss", "label", "residual", "residual*segments", "residual*sketch"]
# The score of `calibrated`, whose offset plays no part in an estimate.
DESIGNED = policy_for("grad-norm", "binary", floor=0.2)


class Pair(NamedTuple):
    """A window's records of the champion, its loss, and how much more the challenger loses (n,)."""

    logged: pa.Table
    loss: np.ndarray
    gain: np.ndarray


def pairs(pipeline: Pipeline, warehouse: str, windows: int) -> list[Pair]:
    """Each window with its champion, and a challenger that learnt on the window before."""
    found, challenger = [], None
    for window in walk(pipeline, features(warehouse), windows + 1):
        if challenger is not None:
            label = window.logged["label"].to_numpy()
            other = records(pipeline, challenger, window.flights)["prediction"].to_numpy()
            champion = window.logged["prediction"].to_numpy()
            losses = [np.logaddexp(0, z) - label * z for z in (champion, other)]
            found.append(Pair(window.logged, losses[0], losses[1] - losses[0]))
        rows = drawn(pipeline, window.logged, window.flights, "uniform", 1)
        card = model_card(pipeline, "none", 1)
        challenger, _ = fit_rows(pipeline, card, rows, window.parent)
    return found


def known(pair: Pair, policy: str | Policy, share: float, seed: int) -> pa.Table:
    """A draw with all that an estimate reads; the challenger's loss where drawn."""
    table = draw(pair.logged, policy=policy, budget=share, seed=seed)
    unknown = ~table["drawn"].to_numpy()
    table = table.append_column("gain", pa.array(pair.gain, mask=unknown))
    table = table.append_column("loss", pa.array(pair.loss))
    logit, label = (pair.logged[name].to_numpy() for name in ("prediction", "label"))
    table = table.append_column("residual", pa.array(sigmoid(logit) - label))
    for name in ("label", "segments", "sketch"):
        table = table.append_column(name, pair.logged[name])
    return table


WAYS: dict[str, tuple[str | Policy, list[str]]] = {
    "hash hold-out": ("uniform", []),
    "uniform draw, with the records": ("uniform", KNOWN),
    "designed draw, with the records": (DESIGNED, KNOWN),
}
COLOURS = dict(zip(WAYS, (OTHER, BLUE, VERMILION), strict=True))


def measured(found: list[Pair], seeds: int) -> dict[str, list[tuple[float, float]]]:
    """By way, for each share: the median width of the interval, and how often it holds."""
    lines: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    for share in SHARES:
        for name, (policy, auxiliary) in WAYS.items():
            widths, held = [], []
            for pair in found:
                for seed in range(1, seeds + 1):
                    table = known(pair, policy, share, seed)
                    (line,) = estimate(table, "gain", auxiliary).to_pylist()
                    widths.append(line["high"] - line["low"])
                    held.append(line["low"] <= pair.gain.mean() <= line["high"])
            lines[name].append((float(np.median(widths)), float(np.mean(held))))
    return lines


def plotted(lines: dict[str, list[tuple[float, float]]], rows: float) -> Figure:
    """The widths against the rows that were scored, both on logarithmic axes."""
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    axes = figure.subplots()
    scored = [share * rows for share in SHARES]
    for name, values in lines.items():
        widths = [width for width, _ in values]
        axes.plot(scored, widths, "o-", color=COLOURS[name], markersize=4)
        axes.annotate(
            name,
            (scored[-1], widths[-1]),
            (6, 0),
            textcoords="offset points",
            va="center",
            color=COLOURS[name],
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.minorticks_off()
    axes.set_xticks(scored, [f"{one:,.0f}" for one in scored])
    widths = [width for values in lines.values() for width, _ in values]
    axes.set_yticks(ticks := [one for one in TICKS if min(widths) / 1.5 < one < max(widths) * 1.5])
    axes.set_yticklabels([f"{one:g}" for one in ticks])
    axes.set_xlim(scored[0] * 0.85, scored[-1] * 3.2)
    axes.grid(axis="y")
    axes.set_xlabel(f"rows that the challenger answered, of {rows:,.0f}")
    axes.set_ylabel("width of the 95 % interval")
    return figure


def main(argv: list[str] | None = None) -> None:
    """The table, and the figure where asked for."""
    line = argparse.ArgumentParser(description=__doc__)
    line.add_argument("--warehouse", required=True)
    line.add_argument("--windows", type=int, default=6)
    line.add_argument("--seeds", type=int, default=40)
    line.add_argument("--plot", type=Path)
    args = line.parse_args(argv)
    warnings.simplefilter("ignore", UserWarning)  # of few rows: the table says how they fare
    found = pairs(windows_pipeline(), args.warehouse, args.windows)
    rows = float(np.mean([len(pair.gain) for pair in found]))
    lines = measured(found, args.seeds)
    print(f"{len(found)} windows of {rows:,.0f} flights, {args.seeds} draws of each")
    print("| rows answered | " + " | ".join(WAYS) + " |")
    print("|---" * (1 + len(WAYS)) + "|")
    for place, share in enumerate(SHARES):
        cells = [f"{lines[name][place][0]:.5f} ({lines[name][place][1]:.1%})" for name in WAYS]
        print(f"| {share:.0%} | " + " | ".join(cells) + " |")
    if args.plot is not None:
        args.plot.write_text(svg(partial(plotted, lines, rows)), encoding="utf-8")


if __name__ == "__main__":
    main()
