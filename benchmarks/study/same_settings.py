"""The default beside uniform at every setting that both were tried with: reads tuning.csv alone.

What tuning chooses on a few early days is partly luck, and an arm's result with it. A pair of loops
with the same batch, rate and window has none of that: these are of the days of tuning, over the
seeds of tuning.
"""

from collections import defaultdict
from collections.abc import Sequence
from math import isfinite
from statistics import fmean, median

from benchmarks.study.parts import AMOUNT, DEFAULT, PARTS, UNIFORM
from benchmarks.study.tables import table
from benchmarks.study.tuned import Setting, Trial

Pair = tuple[float, float]  # the mean losses of uniform and of the default


def pairs(trials: Sequence[Trial]) -> dict[str, list[Pair]]:
    """Of each data set the settings that both arms were tried with, at the goal's amount."""
    losses: dict[tuple[str, str], dict[Setting, list[float]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for trial in trials:
        if trial.amount == AMOUNT:
            losses[trial.data, trial.arm][trial.setting].append(trial.loss)
    found: dict[str, list[Pair]] = {}
    for data in (name for names in PARTS.values() for name in names):
        uniform, default = losses[data, UNIFORM], losses[data, DEFAULT]
        shared = [(fmean(uniform[one]), fmean(default[one])) for one in uniform if one in default]
        if shared:
            found[data] = shared
    return found


def same_settings(trials: Sequence[Trial]) -> str:
    """A data set a row: how many settings, at how many the default's loss was lower, and the median
    difference relative to uniform's."""
    rows = []
    for data, shared in pairs(trials).items():
        lower = sum(default < uniform for uniform, default in shared)
        apart = [
            100 * (default - uniform) / uniform
            for uniform, default in shared
            if isfinite(uniform) and isfinite(default)
        ]
        rows.append([data, f"{len(shared)}", f"{lower}", f"{median(apart):+.2f} %"])
    head = ["data", "settings", f"`{DEFAULT}` lower at", "median difference"]
    caption = (
        f"`{DEFAULT}` less `{UNIFORM}` at the same batch size, learning rate and window, at"
        f" {AMOUNT:g} backward passes for each forward pass: mean loss of the days of tuning over"
        " their seeds, every setting that both were tried with. A setting at which a fit diverged"
        " counts, and has no part in the median."
    )
    return "\n\n".join([table(head, rows), caption])
