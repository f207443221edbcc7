"""Data that cannot be used: records are kept as rejects, and a refresh with too many is refused;
so is one whose instances contradict each other."""

from pyspark.sql import functions as F

from schemas import findings
from schemas.errors import DataQualityError, EmptyDrawError
from schemas.reasons import DUPLICATE_DIFFERS, NO_INSTANCE
from spark_jobs.candidates.assemble import Counts
from spark_jobs.candidates.census import Census
from spark_jobs.candidates.content import KEY
from spark_jobs.candidates.one_row import repeated_ids, require_same
from spark_jobs.candidates.rejects import contradicting, label_faults, record_fault, reject
from spark_jobs.candidates.window import Window
from spark_jobs.refresh.plan import RefreshPlan
from spark_jobs.storage.warehouse import Warehouse

# Of which table each fault that selection counts is; with more than `max_reject_share` of its rows
# a refresh is refused.
COUNTED = {
    findings.INSTANCE_DATE: "instances",
    findings.LABEL_DATE: "labels",
    findings.LABEL_EARLY: "labels",
    findings.RECORD_TIME: "records",
}


def refuse_bad(warehouse: Warehouse, plan: RefreshPlan, window: Window, counts: Counts) -> None:
    """Put unusable rows into `forward_rejects`; refuse the refresh when they are too many.

    Raises EmptyDrawError for a window without a record, DataQualityError for too many rejects.
    """
    if counts.records == 0:
        raise EmptyDrawError(
            f"--ds = {plan.ds}: no forward records from {plan.window_start} to {plan.ds}."
            " Remedy: run `tenforward score` for days after the bootstrap's first"
            " (docs/cold-start.md), or correct the date."
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


def refuse_unsound(warehouse: Warehouse, plan: RefreshPlan, window: Window, census: Census) -> None:
    """Refuse, by DataQualityError, instances of one id that differ, and what more than
    `max_reject_share` of a table's rows have wrong: dates and times that are another's."""
    path = warehouse.path("instances")
    if findings.REPEATED in census.found:
        instances = window.asked.instances
        require_same(instances, repeated_ids(instances), path)
    allowed = warehouse.pipeline.selection.max_reject_share
    for kind, table in COUNTED.items():
        found, rows = census.found.get(kind), census.rows[table]
        if found is not None and found.rows > allowed * rows:
            name = "forward_records" if table == "records" else table
            known = findings.KINDS[kind]
            raise DataQualityError(
                f"--ds = {plan.ds}, table {name}: {found.rows} of {rows} rows of the window are"
                f" {known.says} ({', '.join(found.ids)}, ...{_shifted(kind, census)}), above"
                f" selection.max_reject_share = {allowed}; nothing was written. Remedy:"
                f" {known.remedy.format(path=warehouse.path(name))}.",
                finding=kind,
                count=found.rows,
            )


def _shifted(kind: str, census: Census) -> str:
    """The commonest difference between a record's time and its instance's, where there is one."""
    if kind != findings.RECORD_TIME or not census.shifts:
        return ""
    hours, many = max(census.shifts.items(), key=lambda shift: shift[1])
    return f"; {many} of them by {hours:+g} hours"


def _write_rejects(warehouse: Warehouse, plan: RefreshPlan, window: Window, counts: Counts) -> None:
    """Keep what cannot be used as it came; once for each version that was read."""
    read = plan.versions
    batch = f"select/{plan.refresh_id}/{read['forward_records']}/{read['labels']}"
    judged = window.records.withColumn("fault", record_fault(window.rules.record))
    reject(warehouse, judged.where("fault IS NOT NULL"), batch)
    sound = judged.where("fault IS NULL").drop("fault")
    twice = contradicting(sound)
    if DUPLICATE_DIFFERS in counts.rejects:
        differing = twice.withColumn("fault", F.lit(DUPLICATE_DIFFERS))
        reject(warehouse, differing, f"{batch}/duplicates")
    if NO_INSTANCE in counts.rejects:
        left = sound.join(twice.select(*KEY), [*KEY], "left_anti")
        nobody = left.join(window.asked.instances, "instance_id", "left_anti")
        nobody = nobody.withColumn("fault", F.lit(NO_INSTANCE))
        reject(warehouse, nobody, f"{batch}/{read['instances']}")
    known = window.labels.where(F.col("known_at") <= F.lit(plan.cut))
    wrong = label_faults(known, window.rules.label).where("fault IS NOT NULL")
    reject(warehouse, wrong, f"{batch}/labels")
