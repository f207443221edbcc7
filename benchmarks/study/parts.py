"""The names of the study: its data sets by part, and the arms that others are compared with."""

PARTS: dict[str, tuple[str, ...]] = {
    "development": ("flights", "movielens", "mnist", "delay", "digits"),
    "confirmation": ("flights-autumn", "fashion", "flights-3m", "linear", "linear-outliers"),
    # The second confirmation: of what was changed after the first.
    "second": ("shuttle", "letters", "flights-3m-other", "linear-again", "linear-outliers-again"),
}

UNIFORM = "uniform"  # what every arm is compared with
ALL = "all"  # every new row once: what there is to be gained
FROZEN = "frozen"  # the first model, never retrained
EQUAL = "uniform, equal seconds"  # as many backward passes as fit into the default's seconds
DEFAULT = "calibrated"  # the policy of a new pipeline, whose claim the goal judges
STEPPED = "calibrated, record step"  # tried since confirmation missed the goal
UNTUNED = "calibrated, uniform's settings"  # what a change of policy alone does

AMOUNT = 0.1  # backward passes for each forward pass: the goal's
SHARE = 0.8  # of the gap between uniform and all that the goal wants closed


def part_of(data: str) -> str:
    """The part of a data set; raises KeyError for one that is in none."""
    for part, names in PARTS.items():
        if data in names:
            return part
    raise KeyError(data)


def judged_arm(part: str) -> str:
    """The arm that a part judges, and to whose seconds it compares uniform."""
    return STEPPED if part == "second" else DEFAULT
