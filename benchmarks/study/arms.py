"""The arms of the study: every way to spend a budget of backward passes, by name."""

from dataclasses import dataclass, replace

from benchmarks.study.parts import ALL, DEFAULT, FROZEN, STEPPED, UNIFORM
from schemas.errors import ConfigurationError
from spark_jobs.selection.policies import POLICIES, policy_for
from spark_jobs.selection.policy import Policy

RECORD_STEP = 0.1  # the share that was fixed on the data of development
MOVING = 4  # refreshes, as many as the longer window has
AMOUNTS = (0.02, 0.05, 0.1, 0.25)  # backward passes for each forward pass


@dataclass(frozen=True)
class Arm:
    """A way to choose rows and to fit them.

    policy: None draws nothing. every: all rows of the period are fitted, once each. order: how an
    epoch goes through the rows, random or dealt (`order.py`). averaged: the mean of the weights
    over the second half of the steps serves. moving: the moving mean of the weights over so many
    refreshes serves, and fits go on from the last weights. fresh: the optimizer begins anew with
    every refresh, where the product's goes on. record_step: the share of a Newton step on all new
    records that comes before the fit (`spark_jobs/selection/record_step.py`).
    """

    name: str
    policy: Policy | None = None
    every: bool = False
    epochs: int = 1
    order: str = "random"
    averaged: bool = False
    moving: int = 0
    fresh: bool = False
    record_step: float = 0.0

    def amount(self, budget: float) -> float:
        """Backward passes for each forward pass where the budget is so many: all rows and no row
        are what they are."""
        if self.every:
            return 1.0
        return 0.0 if self.policy is None else budget


def reference_arms() -> list[Arm]:
    """What a policy is compared with, beside `uniform`."""
    return [Arm(FROZEN), Arm(ALL, every=True)]


def uniform_arm() -> Arm:
    """What every arm is compared with."""
    return Arm(UNIFORM, POLICIES[UNIFORM])


def policy_arms(task: str) -> list[Arm]:
    """Every policy of the engine that the task allows, as it comes."""
    found = []
    for name in POLICIES:
        try:
            found.append(Arm(name, policy_for(name, task)))
        except ConfigurationError:  # a score or a weighting that the task does not have
            continue
    return found


def stepped_arm(task: str) -> Arm:
    """The default's draw and fit, after a step on the records of all new rows."""
    return Arm(STEPPED, policy_for(DEFAULT, task), record_step=RECORD_STEP)


def variants(task: str) -> list[Arm]:
    """Other ways to spend the same budget, each tried in development before anything is adopted."""
    base, plain = Arm(DEFAULT, policy_for(DEFAULT, task)), uniform_arm()
    found = [
        replace(base, name="calibrated, fresh optimizer", fresh=True),
        replace(plain, name="uniform, fresh optimizer", fresh=True),
        replace(Arm(ALL, every=True), name="all, fresh optimizer", fresh=True),
        replace(base, name="calibrated, half twice", epochs=2),
        replace(base, name="calibrated, dealt", order="dealt"),
        replace(base, name="calibrated, averaged", averaged=True),
        replace(base, name="calibrated, moving mean", moving=MOVING),
        replace(plain, name="uniform, moving mean", moving=MOVING),
        replace(Arm(ALL, every=True), name="all, moving mean", moving=MOVING),
        replace(
            base, name="calibrated, draw alone", policy=policy_for(DEFAULT, task, calibrated=False)
        ),
    ]
    if task == "binary":
        inverse = policy_for(DEFAULT, task, weighting="inverse")
        found.append(replace(base, name="calibrated, 1/pi", policy=inverse))
    return found
