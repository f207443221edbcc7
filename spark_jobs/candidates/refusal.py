"""Records that cannot be used: kept as rejects, and a refresh with too many is refused."""

from pyspark.sql import functions as F

from schemas.errors import DataQualityError, NoDataError
from schemas.reasons import DUPLICATE_DIFFERS
from spark_jobs.candidates.assemble import Counts
from spark_jobs.candidates.rejects import contradicting, first_fault, label_faults, reject
from spark_jobs.candidates.window import Window
from spark_jobs.refresh.plan import RefreshPlan
from spark_jobs.storage.warehouse import Warehouse


def refuse_bad(warehouse: Warehouse, plan: RefreshPlan, window: Window, counts: Counts) -> None:
    """Put unusable rows into `forward_rejects`; refuse the refresh when they are too many.

    Raises NoDataError for a window without a record, DataQualityError for too many rejects.
    """
    if counts.records == 0:
        raise NoDataError(
            f"--ds = {plan.ds}: no forward records from {plan.window_start} to {plan.ds}."
            " Remedy: run `tenforward score` for these days first, or correct the date."
        )
    bad = counts.rejected
    if bad:
        _write_rejects(warehouse, plan, window, counts)
    allowed = warehouse.pipeline.selection.max_reject_share
    if bad > allowed * counts.records:
        reasons = ", ".join(f"{name} {count}" for name, count in counts.rejects.items())
        raise DataQualityError(
            f"--ds = {plan.ds}: {bad} of {counts.records} records of the window are unusable"
            f" ({reasons}; they are in forward_rejects), above selection.max_reject_share ="
            f" {allowed}. Remedy: mend the writer of these records, or raise the share.",
            rejects=counts.rejects,
        )


def _write_rejects(warehouse: Warehouse, plan: RefreshPlan, window: Window, counts: Counts) -> None:
    """Keep what cannot be used as it came; once for each version that was read."""
    read = plan.versions
    batch = f"select/{plan.refresh_id}/{read['forward_records']}/{read['labels']}"
    judged = window.records.withColumn("fault", first_fault(window.rules.record))
    reject(warehouse, judged.where("fault IS NOT NULL"), batch)
    if DUPLICATE_DIFFERS in counts.rejects:
        twice = contradicting(judged.where("fault IS NULL").drop("fault"))
        twice = twice.withColumn("fault", F.lit(DUPLICATE_DIFFERS))
        reject(warehouse, twice, f"{batch}/duplicates")
    known = window.labels.where(F.col("known_at") <= F.lit(plan.cut))
    wrong = label_faults(known, window.rules.label).where("fault IS NOT NULL")
    reject(warehouse, wrong, f"{batch}/labels")
