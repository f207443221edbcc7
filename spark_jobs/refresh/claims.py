"""Which of several runs of one refresh counts: the last that claimed it, and no other.

Four tables cannot be committed at once. So a run takes a number when it begins, higher than any
that the refresh has had; it *claims* the refresh under it, by an empty commit to `refreshes`,
before it writes the first row; its rows bear the number, and its manifest the next one. A run that
another one has overtaken is refused at its claim, at a table or at its manifest, and never leaves a
manifest of rows that are not there. What a killed run leaves is told by the numbers too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from deltalake import CommitProperties, Transaction
from deltalake import DeltaTable as Snapshot
from deltalake.exceptions import CommitFailedError, DeltaError

from schemas.manifests import Manifest
from spark_jobs.storage.retention import REFRESH_TABLES
from spark_jobs.storage.warehouse import Claim, Warehouse, application_of, overtaken

TABLE = "refreshes"
TRIES = 20  # commits of others in a row, each of which makes ours look again


def numbered(
    warehouse: Warehouse,
    refresh_id: str,
    *,
    rebuilds: bool = False,
    tables: Sequence[str] = (*REFRESH_TABLES, TABLE),
) -> Warehouse:
    """The warehouse, to write a refresh under a number of this run's.

    Take it before the look for a manifest: a run that commits one after it is then not overwritten.
    rebuilds: whether the run makes the refresh again from what its manifest pins. tables: those
    that it writes.
    """
    application = application_of(refresh_id)
    number = max(warehouse.next_number(name, application) for name in tables)
    return replace(warehouse, claim=Claim(refresh_id, number, rebuilds))


def claimed(warehouse: Warehouse, refresh_id: str) -> Warehouse:
    """The warehouse, once the refresh is this run's to write.

    Raises ConflictError where another run has claimed it since this one took its number.
    """
    if warehouse.claim is None or warehouse.claim.refresh_id != refresh_id:
        warehouse = numbered(warehouse, refresh_id)
    claim = warehouse.claim
    assert claim is not None
    application, path = application_of(refresh_id), warehouse.path(TABLE)
    marks = CommitProperties(
        {"userMetadata": _mark(claim)}, app_transactions=[Transaction(application, claim.number)]
    )
    for _ in range(TRIES):
        snapshot = Snapshot(path)
        if (snapshot.transaction_version(application) or 0) >= claim.number:
            break
        try:
            snapshot.create_write_transaction(
                [], mode="append", schema=snapshot.schema(), commit_properties=marks
            )
        except CommitFailedError:
            continue
        return warehouse
    raise overtaken(f"refresh {refresh_id}")


def is_unfinished(warehouse: Warehouse, manifest: Manifest) -> bool:
    """Whether a run has written rows in place of the manifest's, and ended before its own manifest.

    A version that the log has forgotten tells nothing.
    """
    written: Mapping[str, int | None] = {
        "selection_probabilities": manifest.probabilities_version,
        "sampled": manifest.sampled.version,
        "holdout": manifest.holdout.version,
    }
    return any(
        version is not None and _written_since(warehouse.path(name), manifest.refresh_id, version)
        for name, version in written.items()
    )


def _written_since(path: str, refresh_id: str, version: int) -> bool:
    try:
        then = Snapshot(path, version=version).transaction_version(application_of(refresh_id))
    except DeltaError:
        return False
    return Snapshot(path).transaction_version(application_of(refresh_id)) != then


def was_rebuild(warehouse: Warehouse, refresh_id: str) -> bool:
    """Whether the last run that claimed a refresh was one that rebuilds."""
    marks = {_mark(Claim(refresh_id, 0, rebuilds)): rebuilds for rebuilds in (False, True)}
    history = Snapshot(warehouse.path(TABLE)).history()
    found = (commit.get("userMetadata") for commit in history)
    return next((marks[mark] for mark in found if mark in marks), False)


def _mark(claim: Claim) -> str:
    return f"claim/{'rebuild' if claim.rebuilds else 'anew'}/{claim.refresh_id}"
