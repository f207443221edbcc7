"""One instance in one refresh: what it was there, why, and whether drawing again agrees."""

from datetime import date
from typing import Any

from schemas.manifests import BOOTSTRAP, Manifest
from schemas.pipeline import Pipeline
from spark_jobs.explained.again import redraw
from spark_jobs.explained.candidacy import CANDIDATE, candidacy
from spark_jobs.explained.checked import differing, stored_row
from spark_jobs.explained.pinned import GoneError, Pinned

EQUAL, DIFFERS, NOT_POSSIBLE = "equal", "differs", "not possible"


def in_refresh(
    pipeline: Pipeline, warehouse: str, manifest: Manifest, instance_id: str, day: date
) -> dict[str, Any]:
    """What a refresh made of the instance of an event date, as JSON holds it.

    outcome: drawn, not drawn, held out, forward day, no record, set aside, rejected, unmatured or
    outside.
    recomputed: whether all this, made again from the pinned inputs, equals what is stored; the
    stored row is shown in any case. pipeline: of today.
    """
    about = {
        "refresh_id": manifest.refresh_id,
        "ds": manifest.ds,
        "policy": manifest.policy,
        "window_start": manifest.inputs.window_start,
        "cut": manifest.inputs.cut,
    }
    stored, expired = None, ""
    try:
        stored = stored_row(manifest, warehouse, instance_id)
    except GoneError as error:
        expired = str(error)
    try:
        made = _again(Pinned.of(manifest, pipeline, warehouse), instance_id, day)
    except GoneError as error:
        return about | _by_stored(stored, expired) | _not_possible(str(error))
    row, digest = made.pop("row", None), made.pop("digest", None)
    if expired:
        return about | made | _values(row) | _not_possible(expired)
    return about | made | _values(stored or row) | _compared(manifest, stored, row, digest)


def _again(pinned: Pinned, instance_id: str, day: date) -> dict[str, Any]:
    """Outcome and reason from the pinned inputs; of a candidate also its `row` and the `digest` of
    the sample."""
    mine = candidacy(pinned, instance_id, day)
    if mine.outcome != CANDIDATE:
        return {"outcome": mine.outcome, "why": mine.why}
    if pinned.manifest.policy == BOOTSTRAP:
        raise GoneError(f"no record decided it: {mine.why}")
    made = redraw(pinned, instance_id)
    outcome = "drawn" if made.row["drawn"] else "not drawn"
    told = {"outcome": outcome, "why": _why(made.row, made.steps), "served_because": mine.why}
    return told | mine.served | made.steps | {"row": made.row, "digest": made.digest}


def _why(row: dict[str, Any], steps: dict[str, Any]) -> str:
    """How the probability came about, and what came of it, in a sentence."""
    own = f"; row weight {steps['row_weight']:.6g}" if "row_weight" in steps else ""
    if not steps["probability_promised"]:
        return (
            f"the design {steps['design']} chooses by the order of losses or scores: score"
            f" {row['score']:.6g} ({steps['score_name']}){own}"
        )
    mean = "" if steps["mean_score"] is None else f" / mean {steps['mean_score']:.6g}"
    capped = ", at the cap of 1" if steps["capped"] else ""
    within = "" if steps["stratum"] is None else f" in stratum {steps['stratum']!r}"
    chance = f"score {row['score']:.6g}{mean} = size {steps['size']:.6g}"
    share = f"{1 - steps['floor']:g} x min(1, {steps['c']:.6g} x size){capped}"
    floor = f" + floor {steps['floor_share']:.6g}" if steps["floor"] else ""
    return f"{chance}; probability {row['probability']:.6g} = {share}{floor}{within}{own}"


def _values(row: dict[str, Any] | None) -> dict[str, Any]:
    """The columns of a candidate that are told."""
    named = ("instance_id", "event_time", "drawn")
    return {} if row is None else {name: row[name] for name in row if name not in named}


def _by_stored(row: dict[str, Any] | None, expired: str) -> dict[str, Any]:
    if row is not None:
        return {"outcome": "drawn" if row["drawn"] else "not drawn"} | _values(row)
    return {"outcome": "not known" if expired else "no candidate"}


def _not_possible(why: str) -> dict[str, Any]:
    return {"recomputed": NOT_POSSIBLE, "not_recomputed_because": why}


def _compared(
    manifest: Manifest,
    stored: dict[str, Any] | None,
    row: dict[str, Any] | None,
    digest: str | None,
) -> dict[str, Any]:
    """Whether both are the same; row, digest: None where the instance was no candidate."""
    if stored is None or row is None:
        same = stored is None and row is None
        return {"recomputed": EQUAL if same else DIFFERS, "stored": stored is not None}
    differs = differing(stored, row)
    if differs or digest != manifest.sample_digest:
        return {
            "recomputed": DIFFERS,
            "differs": differs,
            "sample_digest": {"stored": manifest.sample_digest, "recomputed": digest},
        }
    return {"recomputed": EQUAL}
