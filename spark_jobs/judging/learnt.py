"""Rows that a model learnt from, and how likely each was to be: no model is judged on them."""

from collections.abc import Mapping, Sequence
from datetime import date
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.errors import ConfigurationError
from schemas.manifests import Manifest, find_manifest
from spark_jobs.refresh.registered import Tags, line_of
from spark_jobs.storage.warehouse import Warehouse


def learnt_from(
    warehouse: Warehouse, version: str, versions: Mapping[str, Tags], since: date
) -> tuple[Manifest, ...]:
    """The refreshes that a version and all models before it were trained on.

    versions: the registry's, with their tags. Raises ConfigurationError where one is not known, or,
    of those with a day from `since` on, is no longer what was trained on.
    """
    found = []
    for tags in line_of(version, versions).values():
        name = tags.get("refresh_id")
        manifest = find_manifest(warehouse.path("refreshes"), name) if name else None
        if manifest is None:
            raise ConfigurationError(
                f"version {version}: it, or a model before it, learnt from the refresh"
                f" {name!r}, which is not in this warehouse, so the rows that it must not be judged"
                " on are not known. Remedy: name a version whose refreshes are all here."
            )
        changed = tags.get("sample_digest") not in (None, manifest.sample_digest)
        if changed and manifest.ds >= since:
            raise ConfigurationError(
                f"version {version}: it, or a model before it, learnt from {name} as it was before"
                " it was selected anew, so the rows that it must not be judged on are not known."
                f" Remedy: name a refresh whose window begins after {manifest.ds}."
            )
        found.append(manifest)
    return tuple(found)


def require_independent(window: Manifest, trained_on: Sequence[Manifest], version: str) -> None:
    """Refuse to judge a model by the draw that it learnt from, by one of the same seed, or by days
    from which it learnt with chances that nobody knows. Raises ConfigurationError."""
    same = [one.refresh_id for one in trained_on if one.seed == window.seed]
    if same:
        raise ConfigurationError(
            f"version {version}: it learnt from {same[0]}, whose draw and that of"
            f" {window.refresh_id} are one, so no drawn row is left to judge it by. Remedy: name"
            " the refresh of another day, a later one say."
        )
    for one in _overlapping(window, trained_on):
        # A bootstrap has no such figure, and drew every row for sure.
        if not one.report.get("design_exact", True):
            raise ConfigurationError(
                f"version {version}: it, or a model before it, learnt from {one.refresh_id}, whose"
                f" policy {one.policy!r} promises no inclusion probabilities, so how likely a row"
                f" of {window.refresh_id} was not to teach it is not known. Remedy: name a refresh"
                f" whose window begins after {one.ds}."
            )


def unlearnt(
    warehouse: Warehouse, trained_on: Sequence[Manifest], window: Manifest
) -> DataFrame | None:
    """instance_id, learnt (whether one of the draws took it), unlearnt (the chance that none did),
    of the candidates of these refreshes; no model learnt from others. None where there is none.

    Draws with different seeds are independent, so that the chances multiply; of those with one, by
    other settings on one day, the likelier to have taken a row is taken for both.
    """
    since = window.inputs.window_start
    parts = []
    for manifest in _overlapping(window, trained_on):
        rows = warehouse.read("selection_probabilities", manifest.probabilities_version)
        rows = rows.where(F.col("refresh_id") == manifest.refresh_id)
        rows = rows.where(F.to_date("event_time") >= F.lit(since))
        seed = F.lit(manifest.seed).alias("seed")
        parts.append(rows.select("instance_id", "drawn", "probability", seed))
    if not parts:
        return None
    by_seed = reduce(DataFrame.unionByName, parts).groupBy("instance_id", "seed")
    draws = by_seed.agg(F.bool_or("drawn").alias("drawn"), F.max("probability").alias("likelier"))
    chance = F.product(1 - F.col("likelier")).alias("unlearnt")
    return draws.groupBy("instance_id").agg(F.bool_or("drawn").alias("learnt"), chance)


def _overlapping(window: Manifest, trained_on: Sequence[Manifest]) -> list[Manifest]:
    """The refreshes that drew from days of the window."""
    return [one for one in trained_on if one.ds >= window.inputs.window_start]
