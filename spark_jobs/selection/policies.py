"""Policies: score x design x weighting, under one name."""

from dataclasses import dataclass, replace

from schemas.errors import ConfigurationError
from spark_jobs.selection.designs import DESIGNS
from spark_jobs.selection.scores import SCORES
from spark_jobs.selection.weights import WEIGHTINGS


@dataclass(frozen=True)
class Policy:
    """How candidates are scored, drawn and weighted; budget and seed come with the run."""

    name: str
    score: str
    design: str
    weighting: str
    floor: float = 0.0  # share of the budget that is spent uniformly
    calibrated: bool = False

    def __post_init__(self) -> None:
        assert self.score in SCORES, self.score
        assert self.design in DESIGNS, self.design
        assert self.weighting in WEIGHTINGS, self.weighting


POLICIES: dict[str, Policy] = {
    policy.name: policy
    for policy in (
        Policy("uniform", "one", "systematic", "none"),
        Policy("obftf", "one", "mean-match", "none"),
        Policy("grad-norm", "residual-norm", "systematic", "inverse"),
        Policy("calibrated", "residual-norm", "systematic", "offset", floor=0.2, calibrated=True),
    )
}


def policy_for(name: str, task: str) -> Policy:
    """The policy as it runs for a task; raises ConfigurationError for an unknown name.

    An offset is a logit's: tasks other than binary are weighted by 1/pi instead. For regression
    `calibrated` draws uniformly, since residuals of outliers would take the budget (methods).
    """
    if name not in POLICIES:
        raise ConfigurationError(
            f"policy = {name!r}: unknown. Remedy: choose one of {', '.join(POLICIES)}."
        )
    policy = POLICIES[name]
    if policy.weighting == "offset" and task != "binary":
        policy = replace(policy, weighting="inverse")
    if name == "calibrated" and task == "regression":
        policy = replace(policy, score="one", floor=0.0)
    return policy
