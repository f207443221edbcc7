"""Writing one refresh: probabilities, sample and hold-out first, the manifest last.

The manifest row is the commit. A job that dies before it leaves rows that no manifest names; the
next run of the same refresh replaces them. Of two runs at once one is refused: `claims`.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.allowance import Allowance
from schemas.manifests import Decided, Inputs, Manifest, RowCounts
from schemas.progress import step
from spark_jobs.refresh.candidate_files import StoredCandidates, store_candidates
from spark_jobs.refresh.claims import claimed
from spark_jobs.refresh.parts import part_of
from spark_jobs.refresh.plan import RefreshPlan
from spark_jobs.refresh.training_rows import in_files, training_rows, wanted_rows
from spark_jobs.selection.engine import SelectionResult
from spark_jobs.storage.settle import letting_go, settle
from spark_jobs.storage.warehouse import Warehouse


@dataclass(frozen=True)
class Draft:
    """What was decided of the candidates of a refresh, and by what.

    drawn: the drawn ones, with the columns of `selection_probabilities` but the refresh id.
    candidates: all of them, to be written where they lie, or a DataFrame in the form of the table.
    rejected: records of the window that were none. repeats: whether instances of the window stand
    on several rows that say the same.
    """

    drawn: DataFrame
    candidates: SelectionResult | DataFrame
    report: Mapping[str, Any]
    digest: str
    decided: Decided
    allowance: Allowance | None = None  # where forward passes pay for it
    rejected: int = 0
    repeats: bool = False

    @property
    def count(self) -> int:
        """How many rows were drawn."""
        return int(self.report["drawn"])


@dataclass(frozen=True)
class _Written:
    """The candidates as they were stored, and the versions of the tables that hold the others."""

    candidates: StoredCandidates
    sampled: int
    holdout: int


def write_refresh(
    warehouse: Warehouse, plan: RefreshPlan, draft: Draft, held_out: DataFrame
) -> Manifest:
    """Write a refresh whole and return its manifest.

    held_out: instance_id and label of the held-out rows of the window. Raises ConflictError where
    another run writes the same refresh meanwhile.
    """
    warehouse = claimed(warehouse, plan.refresh_id)
    with letting_go() as keep:
        held_out = keep(held_out.persist())
        with step("counting the hold-out"):
            at_most = draft.count + held_out.count()
        with step(f"joining features of {at_most:,} rows"):
            wanted = keep(settle(wanted_rows(draft.drawn, held_out), at_most))
            rows = training_rows(warehouse, plan, wanted, at_most, keep, repeats=draft.repeats)
            rows = keep(settle(rows, at_most))
        with step("committing the tables"):
            written = _write_tables(warehouse, plan, draft, rows)
    manifest = _manifest(warehouse, plan, draft, written)
    with step("committing the manifest"):
        write_manifest(warehouse, manifest)
    return manifest


def write_manifest(warehouse: Warehouse, manifest: Manifest) -> None:
    """Commit a refresh, or replace its manifest. Raises as `write_refresh` does."""
    row = warehouse.spark.createDataFrame(manifest.to_table())
    warehouse.replace_refresh(row, "refreshes", manifest.refresh_id)


def _write_tables(
    warehouse: Warehouse, plan: RefreshPlan, draft: Draft, rows: DataFrame
) -> _Written:
    """The three tables side by side. rows: as `training_rows` gives them."""
    drawn = rows.where("position >= 0 and trains")
    trained = in_files(drawn, warehouse.pipeline.selection.files, draft.count)
    judged = rows.where("not trains").coalesce(1)
    with ThreadPoolExecutor(max_workers=3) as pool:
        candidates = pool.submit(_write_candidates, warehouse, draft.candidates, plan.refresh_id)
        sampled = pool.submit(warehouse.replace_refresh, trained, "sampled", plan.refresh_id)
        holdout = pool.submit(warehouse.replace_refresh, judged, "holdout", plan.refresh_id)
        return _Written(candidates.result(), sampled.result(), holdout.result())


def _write_candidates(
    warehouse: Warehouse, candidates: SelectionResult | DataFrame, refresh_id: str
) -> StoredCandidates:
    if isinstance(candidates, SelectionResult):
        return store_candidates(warehouse, candidates, refresh_id)
    rows = candidates.withColumn("refresh_id", F.lit(refresh_id))
    version = warehouse.replace_refresh(rows, "selection_probabilities", refresh_id)
    return StoredCandidates(version, [])


def _manifest(warehouse: Warehouse, plan: RefreshPlan, draft: Draft, written: _Written) -> Manifest:
    """What the tables hold. Raises ArithmeticError where that is not what was drawn."""
    sampled = part_of(warehouse, "sampled", written.sampled, plan.refresh_id)
    holdout = part_of(warehouse, "holdout", written.holdout, plan.refresh_id)
    if sampled.rows != draft.count:
        raise ArithmeticError(
            f"refresh {plan.refresh_id}: {draft.count} rows drawn, {sampled.rows} written"
        )
    candidates, allowance = int(draft.report["candidates"]), draft.allowance
    return Manifest(
        refresh_id=plan.refresh_id,
        pipeline=warehouse.pipeline.name,
        policy=plan.policy,
        ds=plan.ds,
        seed=plan.seed,
        config=warehouse.pipeline.selection_config(),
        config_digest=warehouse.pipeline.selection_digest(),
        inputs=Inputs(plan.window_start, plan.cut, plan.versions),
        allowance=None if allowance is None else allowance.for_rows(sampled.rows),
        decided=draft.decided,
        counts=RowCounts(candidates, sampled.rows, holdout.rows, draft.rejected),
        sampled=sampled,
        holdout=holdout,
        probabilities_version=written.candidates.version,
        sample_digest=draft.digest,
        report={**draft.report, "largest_losses": written.candidates.largest_losses},
        created_at=datetime.now(UTC),
    )
