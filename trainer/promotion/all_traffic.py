"""A version before the gate once more, by what was measured of it on all traffic since."""

from typing import TYPE_CHECKING

from schemas.all_traffic import AllTraffic, Ends, kept, loss_of
from schemas.errors import ConfigurationError
from schemas.pipeline import Pipeline
from schemas.registry import CHAMPION, PROMOTED, PROMOTED_OVER, ROLLED_BACK
from trainer.promotion.assess import Assessment, Named, SegmentLine
from trainer.promotion.gate import Verdict, decide
from trainer.promotion.intervals import Interval
from trainer.promotion.registry import Registry

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

DRAWN = "drawn"


def judged_again(
    registry: Registry, pipeline: Pipeline, version: "ModelVersion", refresh_id: str
) -> Verdict:
    """The gate's verdict by the limits of now, on the rows of a refresh that it did not learn from.

    Raises ConfigurationError where the version was not measured there, or beside other models or
    by other settings than those of now.
    """
    found = kept(registry.client, str(version.run_id), str(version.version), refresh_id)
    champion = registry.champion()
    now = {
        "champion": None if champion is None else str(champion.version),
        "confidence": pipeline.gate.confidence,
        "loss": loss_of(pipeline),
    }
    for name, value in now.items():
        then = getattr(found, name)
        if then != value:
            raise ConfigurationError(
                f"--version = {version.version}: measured on {refresh_id} with {name} = {then}, now"
                f" it is {value}. Remedy: repeat `tenforward estimate --refresh {refresh_id}"
                f" --challenger {version.version} --for-gate`."
            )
    anchor = "no anchor" if found.anchor is None else f"anchor version {found.anchor}"
    return decide({DRAWN: assessment(found)}, pipeline.gate, anchor)


def assessment(found: AllTraffic) -> Assessment:
    """What was measured, in the gate's words; its rows are those that were asked about."""
    of = {name: _named(metrics) for name, metrics in found.measured.items()}
    return Assessment(
        rows=found.drawn,
        challenger=of["challenger"],
        champion=of.get("champion", {}),
        increase=of.get("increase", {}),
        anchor=of.get("anchor", {}),
        anchor_increase=of.get("anchor_increase", {}),
        segments=[
            SegmentLine(
                segment=line.segment,
                level=line.level,
                rows=line.drawn,
                loss=Interval(*line.loss),
                increase=_interval(line.increase),
                calibration_ratio=_interval(line.calibration_ratio),
                anchor_increase=_interval(line.anchor_increase),
            )
            for line in found.segments
        ],
    )


def serve_if_passed(registry: Registry, version: "ModelVersion", verdict: Verdict) -> None:
    """Write the verdict on the version, and let it serve where it passed. The alias moves last but
    for the note of it, so that what was killed in between is finished by repeating it."""
    number = str(version.version)
    tags = {"gate": "passed" if verdict.passed else "failed", "gate_reason": verdict.reason}
    for name, value in tags.items():
        registry.client.set_model_version_tag(registry.name, number, name, value)
    if not verdict.passed:
        return
    champion = registry.champion()
    for one in registry.versions():  # of an earlier promotion of either, which this one ends
        if number in (str(one.version), one.tags.get(PROMOTED_OVER)) and PROMOTED_OVER in one.tags:
            registry.client.delete_model_version_tag(registry.name, one.version, PROMOTED_OVER)
    if champion is not None and int(champion.version) > int(number):
        before = str(champion.version)
        registry.client.set_model_version_tag(registry.name, number, PROMOTED_OVER, before)
    registry.client.set_registered_model_alias(registry.name, CHAMPION, number)
    registry.client.set_model_version_tag(registry.name, number, PROMOTED, "true")


def require_version(registry: Registry, number: str) -> "ModelVersion":
    """A version of the model. Raises ConfigurationError where there is none, and for one that was
    found bad while it served."""
    version = registry.version(number, "--version")
    if ROLLED_BACK in version.tags:
        raise ConfigurationError(
            f"--version = {number}: it was rolled back from. Remedy: `tenforward rollback --to"
            f" {number}` lets it serve all the same."
        )
    return version


def _named(metrics: dict[str, Ends]) -> Named:
    return {name: Interval(*ends) for name, ends in metrics.items()}


def _interval(ends: Ends | None) -> Interval | None:
    return None if ends is None else Interval(*ends)
