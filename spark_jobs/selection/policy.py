"""What a policy is: everything that decides a sample but the records, the budget and the seed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

RIDGE = 5.0  # times the mean squared residual over k (docs/selection.md, "Calibration")
BOUNDS = (0.1, 4.0)


@dataclass(frozen=True)
class Strata:
    """A guaranteed number of drawn rows for each level of one segment key."""

    place: int  # of the key among the record's segment keys
    min_count: int = 0
    min_share: float = 0.0  # of the budget


@dataclass(frozen=True)
class Policy:
    """How candidates are scored, drawn and weighted; budget and seed come with the run."""

    name: str
    score: str = "one"
    design: str = "systematic"
    weighting: str = "inverse"
    floor: float = 0.0  # share of the budget that is spent uniformly
    calibrated: bool = False
    ridge: float = RIDGE  # 0: totals are met exactly, where the bounds allow
    bounds: tuple[float, float] = BOUNDS  # of the multipliers that calibration finds
    beta: float = 2.0  # of the score loss-rank
    mixture: Mapping[str, float] = field(default_factory=dict)  # weights of the scores, if several
    strata: Strata | None = None
    unmatured_weight: float = 1.0  # of drawn rows whose label has not matured

    @property
    def scores(self) -> dict[str, float]:
        """Every score that it adds up, with its weight."""
        return dict(self.mixture) if self.score == "mixture" else {self.score: 1.0}

    @property
    def equal(self) -> bool:
        """Whether all candidates have the same probability."""
        return self.scores.keys() == {"one"} and self.strata is None
