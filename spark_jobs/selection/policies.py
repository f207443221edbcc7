"""Policies: score x design x weighting, under one name."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from schemas.errors import ConfigurationError
from schemas.pipeline import Pipeline
from spark_jobs.selection.designs import DESIGNS
from spark_jobs.selection.policy import Policy, Strata
from spark_jobs.selection.scores import SCORES
from spark_jobs.selection.weights import WEIGHTINGS

# The components of the mixture, in equal parts until a refresh has measured them.
MIXTURE: dict[str, tuple[str, ...]] = {
    "binary": ("one", "residual-norm", "loss", "entropy"),
    "multiclass": ("one", "residual-norm", "loss", "entropy"),
    "regression": ("one", "residual-norm", "loss"),
}

POLICIES: dict[str, Policy] = {
    policy.name: policy
    for policy in (
        Policy("calibrated", "residual-norm", weighting="offset", floor=0.2, calibrated=True),
        Policy("uniform", weighting="none"),
        Policy("obftf", design="mean-match", weighting="none"),
        Policy("obftf-prox", design="loss-stride", weighting="none"),
        Policy("balanced", "residual-norm", "cube", floor=0.2),
        Policy("grad-norm", "residual-norm"),
        Policy("loss-proportional", "loss"),
        Policy("selective-backprop", "loss-rank", "poisson", "none"),
        Policy("infobatch", "above-mean", "poisson"),
        Policy("local-case-control", "residual-norm", "poisson", "offset"),
        Policy("negative-downsampling", "rare-label", "poisson"),
        Policy("max-loss", "loss", "top", "none"),
        Policy("min-loss", "smallness", "top", "none"),
        Policy("uncertainty", "entropy"),
        Policy("mixture", "mixture", floor=0.1),
    )
}


def policy_for(name: str, task: str, **changes: Any) -> Policy:
    """The policy as it runs for a task, with some of its fields changed.

    The preset `calibrated` is weighted by 1/pi where the task has no logit to offset, and draws
    uniformly for regression, where residuals of outliers would take the budget. A preset of weights
    1 that is sound for its equal probabilities is weighted by 1/pi where strata make them unequal.
    Raises ConfigurationError for an unknown name and for what the task or a part does not allow.
    """
    if name not in POLICIES:
        raise ConfigurationError(
            f"policy = {name!r}: unknown. Remedy: choose one of {', '.join(POLICIES)}."
        )
    policy = POLICIES[name]
    if name == "calibrated" and task != "binary":
        policy = replace(policy, weighting="inverse")
        if task == "regression":
            policy = replace(policy, score="one", floor=0.0)
    policy = replace(policy, **changes)
    if "weighting" not in changes and _biased_by_strata(policy):
        policy = replace(policy, weighting="inverse")
    if policy.score == "mixture" and not policy.mixture:
        parts = MIXTURE[task]
        policy = replace(policy, mixture=dict.fromkeys(parts, 1.0 / len(parts)))
    require_possible(policy, task)
    return policy


def biased_by_design(policy: Policy) -> str | None:
    """Why the policy's samples are no estimate of all candidates, in a sentence; None if they are.

    Weights of 1 estimate something only where all probabilities are equal, and a design that does
    not promise its probabilities estimates nothing.
    """
    if not DESIGNS[policy.design].exact:
        return (
            f"Biased by design: {policy.design} chooses rows by their loss or score and promises no"
            " probabilities, so the sample does not stand for all candidates."
        )
    if policy.weighting == "none" and not policy.equal:
        return (
            "Biased by design: rows are drawn with unequal probabilities and all weigh 1, so what"
            " is drawn more often counts more."
        )
    return None


def _biased_by_strata(policy: Policy) -> bool:
    """Whether it is the strata that make the policy's samples biased, and 1/pi would mend it."""
    if policy.strata is None or policy.design not in DESIGNS:
        return False
    without = replace(policy, strata=None)
    return biased_by_design(policy) is not None and biased_by_design(without) is None


def on_records(policy: Policy, in_sample: int) -> Policy:
    """The policy as it can be used where so many candidates have no record but in sample.

    An offset is right where the prediction knows no more of the label than the features do; weights
    of 1/pi are, whatever the records know.
    """
    if in_sample and policy.weighting == "offset":
        return replace(policy, weighting="inverse")
    return policy


OVERRIDES = ("score", "design", "weighting", "floor", "calibrated", "ridge", "bounds", "beta")


def configured(pipeline: Pipeline, mixture: Mapping[str, float] | None = None) -> Policy:
    """The policy of a pipeline file; mixture: the weights that the refresh before has left.

    Raises ConfigurationError.
    """
    selection = pipeline.selection
    changes: dict[str, Any] = {
        name: getattr(selection, name) for name in OVERRIDES if getattr(selection, name) is not None
    }
    if selection.strata is not None:
        place = pipeline.instances.segments.index(selection.strata.segment)
        minimum = selection.strata.model_dump(exclude={"segment"})
        changes["strata"] = Strata(place, **minimum)
    if selection.unmatured == "down-weight":
        changes["unmatured_weight"] = selection.unmatured_weight
    if mixture:
        changes["mixture"] = mixture
    policy = policy_for(selection.policy, pipeline.task, **changes)
    labelled = [name for name in policy.scores if SCORES[name].needs_label]
    if selection.unmatured != "wait" and pipeline.task == "regression" and labelled:
        raise ConfigurationError(
            f"selection.unmatured = {selection.unmatured!r}: the score {labelled[0]!r} has no"
            ' expectation for regression. Remedy: write unmatured = "wait", or score = "one".'
        )
    return policy


def unread(policy: Policy) -> dict[str, str]:
    """The settings of `[selection]` that the policy does not look at, each with the reason."""
    reasons: dict[str, str] = {}
    if "loss-rank" not in policy.scores:
        reasons["beta"] = f"its score is {policy.score!r}, not 'loss-rank'"
    if not policy.calibrated:
        reasons |= dict.fromkeys(("ridge", "bounds"), "it is not calibrated")
    if policy.equal:
        reasons["floor"] = "it draws uniformly anyway"
    elif DESIGNS[policy.design].nominal:
        reasons["floor"] = f"the design {policy.design!r} draws by order alone"
    return reasons


def beside(pipeline: Pipeline, name: str) -> Policy:
    """A named policy on the data of a pipeline file: what [selection] changes of its own policy is
    left to that one; strata and what happens to unmatured labels hold for all.

    Raises ConfigurationError.
    """
    selection = pipeline.selection
    if name == selection.policy:
        return configured(pipeline)
    plain = dict.fromkeys(OVERRIDES) | {"policy": name}
    return configured(pipeline.model_copy(update={"selection": selection.model_copy(update=plain)}))


def require_possible(policy: Policy, task: str) -> None:
    """Raise ConfigurationError, naming field, value and remedy, for parts that do not fit."""
    known = {"score": [*SCORES, "mixture"], "design": DESIGNS, "weighting": WEIGHTINGS}
    for part, names in known.items():
        if getattr(policy, part) not in names:
            raise _impossible(policy, part, "unknown", f"choose one of {', '.join(names)}")
    for name in policy.scores:
        if name not in SCORES:
            raise _impossible(policy, "mixture", f"no score {name!r}", "name known scores")
        if task not in SCORES[name].tasks:
            where = " and ".join(SCORES[name].tasks)
            raise _impossible(
                policy, "score", f"{name!r} is defined for {where}, not {task}", "choose another"
            )
    if policy.weighting == "offset" and task != "binary":
        why = f"an offset is a logit's, and the task is {task}"
        raise _impossible(policy, "weighting", why, 'write weighting = "inverse"')
    if policy.weighting == "offset" and not (policy.equal or _looks_at_labels(policy)):
        why = "an offset undoes what hangs on the label, and these probabilities do not"
        raise _impossible(policy, "weighting", why, 'write weighting = "inverse"')
    design = DESIGNS[policy.design]
    if policy.weighting != "none" and not design.exact:
        why = f"the design {policy.design!r} does not promise its probabilities"
        raise _impossible(policy, "weighting", why, 'write weighting = "none", or another design')
    if _biased_by_strata(policy):
        why = "strata make the probabilities unequal, and weights of 1 would not make up for it"
        remedy = 'write weighting = "inverse", or leave it out'
        raise _impossible(policy, "weighting", why, remedy)
    if policy.calibrated and policy.weighting == "none" and not policy.equal:
        why = "weights of 1 after unequal probabilities estimate no total"
        raise _impossible(policy, "calibrated", why, 'write weighting = "inverse"')
    if policy.calibrated and not design.exact:
        why = f"the design {policy.design!r} does not promise its probabilities"
        raise _impossible(policy, "calibrated", why, "choose systematic, poisson or cube")
    if policy.strata and not design.strata:
        able = ", ".join(name for name, one in DESIGNS.items() if one.strata)
        why = f"the design {policy.design!r} cannot guarantee a number of rows per level"
        raise _impossible(policy, "strata", why, f"choose one of {able}")
    if not 0.0 < policy.bounds[0] <= 1.0 <= policy.bounds[1]:
        raise _impossible(policy, "bounds", "must enclose 1 and be above 0", "widen them")


def _looks_at_labels(policy: Policy) -> bool:
    return any(SCORES[name].needs_label for name in policy.scores)


def _impossible(policy: Policy, field_name: str, why: str, remedy: str) -> ConfigurationError:
    value = getattr(policy, field_name)
    return ConfigurationError(
        f"policy {policy.name!r}: {field_name} = {value!r}: {why}. Remedy: {remedy}."
    )
