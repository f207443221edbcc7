"""The refresh that others are judged by: one whose draw kept exact probabilities, and for what is
judged by labels one in which no label stands in for another."""

import json

from schemas.errors import ConfigurationError, NoDataError
from schemas.manifests import Manifest, find_manifest
from spark_jobs.storage.warehouse import Warehouse


def refresh_to_judge_by(warehouse: Warehouse, refresh_id: str) -> Manifest:
    """The manifest of a refresh whose draw kept its probabilities.

    Raises NoDataError where there is none, ConfigurationError for a design that promises none.
    """
    manifest = find_manifest(warehouse.path("refreshes"), refresh_id)
    if manifest is None or manifest.probabilities_version is None:
        raise NoDataError(
            f"--refresh = {refresh_id}: no such refresh with its probabilities. Remedy:"
            " `tenforward status` lists the refreshes."
        )
    if not manifest.report.get("design_exact", False):
        raise ConfigurationError(
            f"--refresh = {refresh_id}: its policy {manifest.policy!r} promises no inclusion"
            " probabilities, so nothing can be said of the rows that were not drawn. Remedy: name a"
            " refresh of another policy."
        )
    return manifest


def stand_ins(manifest: Manifest) -> int:
    """How many of its candidates have a label that stands in until one matures."""
    return round(manifest.report.get("unmatured_share", 0.0) * manifest.counts.candidates)


def unmatured_outside(manifest: Manifest) -> int | None:
    """How many records without a matured label were no candidates; None where nobody counted."""
    every = manifest.report.get("unmatured_records")
    return None if every is None else every - stand_ins(manifest)


def require_labels(manifest: Manifest) -> None:
    """Refuse to judge a model by labels of which some only stand in until one matures.

    Which of them do is not stored. Raises ConfigurationError.
    """
    count = stand_ins(manifest)
    if count:
        rule = json.loads(manifest.config).get("selection", {}).get("unmatured")
        raise ConfigurationError(
            f"refresh {manifest.refresh_id}: selection.unmatured = {rule!r}: the labels of"
            f" {count:,} of its {manifest.counts.candidates:,} candidates stand in until one"
            " matures, and no model is judged by them. Remedy: name a refresh whose candidates all"
            ' had matured labels, such as one drawn with unmatured = "wait".'
        )
