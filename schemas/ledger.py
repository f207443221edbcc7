"""The ledger: forward passes, backward passes planned for them, and backward passes spent.

What a refresh may cost stands in its manifest (`allowance`); what its trainings did cost is in the
table `backward_passes`, written down while they went on. A backward pass is a row that went through
a training step, counted in every epoch and on every rank.
"""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any, Literal
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable as Snapshot
from pyarrow.dataset import dataset

from schemas.manifests import Manifest
from schemas.places import filesystem, within
from schemas.tables import backward_passes

# What backward passes were for; the ratio is that of trainings, the others stand beside it.
Purpose = Literal["training", "bootstrap", "twin", "study"]
BESIDE: tuple[Purpose, ...] = ("bootstrap", "twin", "study")

Spent = Mapping[str, Mapping[str, int]]  # backward passes by refresh and purpose


def read_spent(warehouse: str) -> dict[str, dict[str, int]]:
    """Backward passes by refresh and purpose; none where the warehouse has no such table."""
    path = within(warehouse, backward_passes().name)
    spent: dict[str, dict[str, int]] = {}
    files = [unquote(uri) for uri in Snapshot(path).file_uris()] if _exists(path) else []
    if not files:
        return spent
    store, _ = filesystem(files[0])
    rows: pa.Table = dataset(
        [filesystem(file)[1] for file in files],
        schema=backward_passes().arrow_schema,
        format="parquet",
        filesystem=store,
    ).to_table(columns=["refresh_id", "purpose", "backward_passes"])
    for row in rows.to_pylist():
        purposes = spent.setdefault(row["refresh_id"], {})
        purposes[row["purpose"]] = purposes.get(row["purpose"], 0) + row["backward_passes"]
    return spent


def _exists(path: str) -> bool:
    return bool(Snapshot.is_deltatable(path))


def ledger_of(manifests: Iterable[Manifest], spent: Spent) -> dict[str, Any]:
    """The ledger of some refreshes of one policy, as `status` and `show` print it.

    Refreshes without an allowance, of earlier releases and of a bootstrap, have no forward passes
    to be paid by; `unknown_refreshes` counts the former. Null where nothing is known.
    """
    counted = [one for one in manifests if one.policy != "bootstrap"]
    known = [one.allowance for one in counted if one.allowance is not None]
    forward = sum(one.forward_passes for one in known)
    cost = sum(
        spent.get(one.refresh_id, {}).get("training", 0)
        for one in counted
        if one.allowance is not None
    )
    return {
        "forward_passes": forward if known else None,
        "backward_passes_planned": sum(one.backward_passes for one in known) if known else None,
        "backward_passes_spent": cost if known else None,
        "spent_per_forward_pass": cost / forward if forward else None,
        "refreshes": len(known),
        "unknown_refreshes": len(counted) - len(known),
    }


def within_28_days(manifests: Iterable[Manifest], last: date) -> list[Manifest]:
    """The refreshes of the 28 days up to a day."""
    return [one for one in manifests if last - timedelta(days=28) < one.ds <= last]


def in_words(ledger: Mapping[str, Any]) -> str:
    """A ledger in a line."""
    if ledger["forward_passes"] is None:
        return "not known: no refresh has an allowance"
    ratio = ledger["spent_per_forward_pass"]
    each = "" if ratio is None else f", {ratio:.3g} for each forward pass"
    unknown = ledger["unknown_refreshes"]
    without = f" ({unknown} refreshes of earlier releases not counted)" if unknown else ""
    planned, spent = ledger["backward_passes_planned"], ledger["backward_passes_spent"]
    return (
        f"{ledger['forward_passes']:,} forward passes, {planned:,} backward passes planned,"
        f" {spent:,} spent{each}{without}"
    )


def beside(spent: Spent) -> dict[str, int]:
    """Backward passes outside the ratio, by what they were for."""
    return {
        purpose: sum(purposes.get(purpose, 0) for purposes in spent.values()) for purpose in BESIDE
    }
