"""The anchor: the champion of some days ago, which the gate compares with as well.

A tolerance that holds against the champion of the moment alone may be used up anew by every
promotion. The anchor stands still meanwhile, so that losses do not add up.
"""

from datetime import date, timedelta
from typing import TYPE_CHECKING, NamedTuple

from torch import nn

from schemas.bundle import ModelCard, read_card
from schemas.errors import ConfigurationError
from schemas.registry import served_on
from trainer.fitting.checks import reads_alike
from trainer.models.export import serving_model
from trainer.promotion.registry import Registry

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


class Anchor(NamedTuple):
    """The anchor by its name for the verdict, or in words why there is none."""

    words: str
    model: nn.Module | None = None


def open_anchor(
    registry: Registry,
    ds: str,
    days: int | None,
    champion: "ModelVersion | None",
    card: ModelCard,
) -> Anchor:
    """The anchor of a challenger with this card, trained on the refresh of the day `ds`."""
    if days is None:
        return Anchor("no anchor: gate.anchor_days is switched off")
    day = date.fromisoformat(ds) - timedelta(days=days)
    version = served_on(day, registry.versions())
    if version is None:
        return Anchor(f"no anchor: no champion of {day} or before, {days} days ago")
    name = f"version {version.version} of {version.tags['ds']}"
    if champion is not None and str(champion.version) == str(version.version):
        return Anchor(f"the anchor is the champion itself, {name}")
    try:
        folder = registry.folder(version)
        if reads_alike(read_card(folder), card):
            return Anchor(f"anchor {name}", serving_model(folder))
    except ConfigurationError as error:  # its bundle is gone, or of another format
        why = str(error).partition(" Remedy:")[0]
        return Anchor(f"no anchor: {name} cannot be asked ({why})")
    return Anchor(f"no anchor: {name} has other features, buckets or classes")
