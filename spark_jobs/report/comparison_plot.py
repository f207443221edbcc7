"""The comparison as a picture: predicted excess loss by budget, a line each policy."""

from collections.abc import Sequence
from pathlib import Path

from schemas.errors import ConfigurationError
from spark_jobs.selection.comparison import ComparisonLine

FORMATS = (".svg", ".png", ".pdf")


def draw_plot(lines: Sequence[ComparisonLine], path: Path) -> None:
    """Write the picture; raises ConfigurationError for a format that is not one of `FORMATS`."""
    from matplotlib.figure import Figure  # a second of import that only this needs

    if path.suffix not in FORMATS:
        raise ConfigurationError(
            f"--plot = {path}: cannot draw {path.suffix!r}. Remedy: end it in {', '.join(FORMATS)}."
        )
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for policy in dict.fromkeys(line.policy for line in lines):
        own = sorted((line for line in lines if line.policy == policy), key=lambda one: one.rows)
        rows = [line.rows for line in own]
        middle = [line.wider_loss for line in own]
        low = [line.wider_range[0] for line in own]
        high = [line.wider_range[1] for line in own]
        (drawn,) = axes.plot(rows, middle, marker="o", label=policy)
        axes.fill_between(rows, low, high, color=drawn.get_color(), alpha=0.15, linewidth=0)
    axes.set(xscale="log", yscale="log", xlabel="rows drawn", ylabel="predicted excess loss")
    axes.set_title("Loss that a step on the sample leaves above a step on all records")
    axes.legend(frameon=False)
    axes.grid(alpha=0.25)
    figure.savefig(path)
