"""Designs: how a set is drawn with given inclusion probabilities. Chosen by name.

To add one: a file with `prepare` and `draw` (see `design.Design`), and an entry here.
"""

from spark_jobs.selection.designs import cube, mean_match, poisson, systematic, top
from spark_jobs.selection.designs.design import Design, nothing

DESIGNS: dict[str, Design] = {
    "systematic": Design(
        systematic.prepare, systematic.in_hash_order, exact=True, fixed_size=True, strata=True
    ),
    "systematic-sorted": Design(
        systematic.prepare, systematic.in_sorted_order, exact=True, fixed_size=True, strata=True
    ),
    "loss-stride": Design(
        systematic.prepare, systematic.in_loss_order, exact=True, fixed_size=True, strata=True
    ),
    "poisson": Design(nothing, poisson.draw, exact=True, fixed_size=False, strata=False),
    "cube": Design(cube.prepare, cube.draw, exact=True, fixed_size=True, strata=True),
    "mean-match": Design(
        systematic.prepare, mean_match.draw, exact=False, fixed_size=True, strata=True
    ),
    "top": Design(top.prepare, top.draw, exact=False, fixed_size=True, strata=False, nominal=True),
}
