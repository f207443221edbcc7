"""The ledger: forward passes, backward passes planned for them, and backward passes spent.

What a refresh may cost stands in its manifest (`allowance`); what its trainings did cost is in the
table `backward_passes`, written down while they went on. A backward pass is a row that went through
a training step, counted in every epoch and on every rank.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from typing import Any

from deltalake import DeltaTable as Snapshot

from schemas.counted import Account, Purpose, counted_here
from schemas.manifests import BOOTSTRAP, Manifest
from schemas.places import within
from schemas.stored import stored
from schemas.tables import backward_passes

BESIDE: tuple[Purpose, ...] = ("bootstrap", "twin", "study")

Spent = Mapping[str, Mapping[str, int]]  # backward passes by refresh and purpose


def read_spent(warehouse: str) -> dict[str, dict[str, int]]:
    """Backward passes by refresh and purpose.

    What trainings of this machine have not published yet, because they go on or were killed, is
    in it. Nothing is where the warehouse has no such table.
    """
    here = counted_here(warehouse)  # before the table, which has what is gone from here
    path = within(warehouse, backward_passes().name)
    table = Snapshot(path) if Snapshot.is_deltatable(path) else None
    spent: dict[str, dict[str, int]] = {}
    for refresh, purpose, count in [*_published(table), *_unpublished(table, here)]:
        purposes = spent.setdefault(refresh, {})
        purposes[purpose] = purposes.get(purpose, 0) + count
    return spent


def _published(table: Snapshot | None) -> Iterator[tuple[str, str, int]]:
    """Refresh, purpose and backward passes of each row."""
    rows = stored(table, backward_passes().arrow_schema) if table else None
    if rows is None:
        return
    columns = ["refresh_id", "purpose", "backward_passes"]
    read = rows.to_table(columns=columns)
    yield from zip(*(read[name].to_pylist() for name in columns), strict=True)


def _unpublished(
    table: Snapshot | None, here: Iterable[tuple[Account, int]]
) -> Iterator[tuple[str, str, int]]:
    """The same of what the table lacks of the counts of this machine."""
    for account, total in here:
        done = table.transaction_version(account.application) if table else None
        yield account.refresh_id, account.purpose, max(0, total - (done or 0))


def ledger_of(manifests: Iterable[Manifest], spent: Spent) -> dict[str, Any]:
    """The ledger of some refreshes of one policy, as `status` and `show` print it.

    Refreshes without an allowance, of earlier releases and of a bootstrap, have no forward passes
    to be paid by; `unknown_refreshes` counts the former. Null where nothing is known.
    """
    counted = [one for one in manifests if one.policy != BOOTSTRAP]
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
