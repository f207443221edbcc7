"""How many backward passes a uniform draw has time for, where another arm selects for longer."""

from collections.abc import Iterable

import numpy as np

from benchmarks.study.parts import AMOUNT, UNIFORM, judged_arm, part_of
from benchmarks.study.store import Cell, Line

MORE = 0.25  # uniform at this amount tells what another row costs


def needed(data: str) -> list[Cell]:
    """The cells that must have run before: of the arm that the data judge, and of uniform."""
    judged = judged_arm(part_of(data))
    return [Cell(data, judged, AMOUNT), Cell(data, UNIFORM, AMOUNT), Cell(data, UNIFORM, MORE)]


def equal_amount(lines: Iterable[Line], data: str) -> float:
    """The amount at which uniform takes as long as that arm at 0.1: selecting, taking the rows
    and fitting; medians over refreshes and seeds, a row's cost from uniform at two amounts."""
    wanted = needed(data)
    found: dict[Cell, list[tuple[float, float, float]]] = {cell: [] for cell in wanted}
    for line in lines:
        cell = Cell(line["data"], line["arm"], float(line["amount"]))
        if cell in found:
            seconds = float(line["select_seconds"]) + float(line["fit_seconds"])
            passes, forward = float(line["backward_passes"]), float(line["forward_passes"])
            found[cell].append((seconds, passes, forward))
    (own, _, _), (short, few, forward), (long, many, _) = (
        np.median(np.array(found[cell]), axis=0) for cell in wanted
    )
    a_row = (long - short) / (many - few)
    return float((few + (own - short) / a_row) / forward)
