"""What a training is going to cost, against what its refresh may: said before the first step."""

from schemas.allowance import Allowance
from schemas.counted import Purpose
from schemas.errors import ConfigurationError
from schemas.log import log
from schemas.manifests import BOOTSTRAP
from schemas.sections.training import Training
from trainer.data.refresh import Refresh


def purpose_of(refresh: Refresh, model: str, pipeline: str) -> Purpose:
    """What a training under the registry's name `model` is for."""
    if refresh.policy == BOOTSTRAP:
        return "bootstrap"
    return "training" if model == pipeline else "twin"


def require_affordable(
    refresh: Refresh, settings: Training, purpose: Purpose, spent: int, *, force: bool
) -> int:
    """The backward passes that a training on the refresh makes at most.

    spent: what trainings on it have made before, which is told where it does not fit into the plan
    any more. Raises ConfigurationError where the training alone would make more than were planned,
    unless `force`. A bootstrap, a twin and a study are outside the plan.
    """
    cost = refresh.drawn * settings.passes
    plan = refresh.allowance
    log.info("%s: %s", refresh.refresh_id, _in_words(cost, settings, plan))
    if plan is None or purpose != "training":
        return cost
    if cost > plan.backward_passes and not force:
        raise ConfigurationError(
            f"training.epochs = {settings.epochs}, training.pulls = {settings.pulls}:"
            f" {refresh.drawn} rows x {settings.passes} passes are {cost} backward passes, and"
            f" refresh {refresh.refresh_id} was drawn for {plan.backward_passes}"
            f" ({plan.epochs} epochs x {plan.pulls} pulls). Remedy: select anew with these"
            " settings, take back the change, or spend them all the same with --force."
        )
    if cost + spent > plan.backward_passes:
        log.warning(
            "%s: %d backward passes were planned, %d have been spent, and this training makes %d",
            *(refresh.refresh_id, plan.backward_passes, spent, cost),
        )
    return cost


def ledger_metrics(plan: Allowance | None, spent: int) -> dict[str, int]:
    """What the run and the version of a training say of it, beside what others say of theirs."""
    known = (
        {}
        if plan is None
        else {
            "forward_passes": plan.forward_passes,
            "backward_passes_planned": plan.backward_passes,
        }
    )
    return known | {"backward_passes_spent": spent}


def _in_words(cost: int, settings: Training, plan: Allowance | None) -> str:
    text = f"{cost} backward passes ({settings.passes} of each row)"
    if plan is None or not plan.forward_passes:
        return text
    return f"{text} for {plan.forward_passes} forward passes, {cost / plan.forward_passes:.3g} each"
