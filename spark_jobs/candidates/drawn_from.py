"""What a refresh was drawn from, read again: every candidate, drawn or not, and the hold-out."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from schemas.asked import ASKED
from schemas.errors import NoDataError
from schemas.manifests import Manifest
from spark_jobs.candidates.narrow import in_window
from spark_jobs.candidates.propensities import ASKED_WITH, propensity, with_asked
from spark_jobs.features.segments import with_keys_of
from spark_jobs.storage.warehouse import Warehouse

ANSWER = ("prediction", "logits", "statistics", "segments", "sketch", "propensity")


def frame_of(warehouse: Warehouse, manifest: Manifest) -> DataFrame:
    """One row an instance: instance_id, held_out, label, loss, score, probability, drawn, and what
    its record holds (prediction, logits, statistics, segments, sketch), null where it has none, and
    its propensity: that of the record, times the chance with which it was asked for its label.

    Held-out rows are those of the days drawn from, each drawn for sure; their loss is null. At the
    versions that the manifest pins.
    """
    drawn_from = warehouse.read("selection_probabilities", manifest.probabilities_version)
    candidates = drawn_from.where(F.col("refresh_id") == manifest.refresh_id).select(
        "instance_id",
        F.lit(False).alias("held_out"),
        "model_version",
        *("label", "loss", "score", "probability", "drawn"),
    )
    held = warehouse.read("holdout", manifest.holdout.version)
    held = held.where((F.col("refresh_id") == manifest.refresh_id) & ~F.col("forward"))
    nothing = F.lit(None).cast("double")
    held = held.select(
        "instance_id",
        F.lit(True).alias("held_out"),
        F.lit(None).cast("string").alias("model_version"),
        F.col("label").cast("double").alias("label"),
        nothing.alias("loss"),
        nothing.alias("score"),
        F.lit(1.0).alias("probability"),
        F.lit(True).alias("drawn"),
    )
    records = _records(warehouse, manifest)
    own = _newest(records, "instance_id", "model_version")
    # Of the held-out instances alone: all records would be shuffled a second time.
    ids = F.broadcast(held.select("instance_id"))
    last = _newest(records.join(ids, "instance_id", "left_semi"), "instance_id")
    rows = candidates.join(own, ["instance_id", "model_version"], "left").drop("model_version")
    rows = rows.unionByName(held.join(last, "instance_id", "left").drop("model_version"))
    version = manifest.inputs.versions.get(ASKED)
    asked = with_asked(warehouse, rows, version, manifest.inputs.cut)
    return asked.withColumn("propensity", propensity(asked)).drop(ASKED_WITH)


def asked_frame(warehouse: Warehouse, ask_id: str) -> DataFrame:
    """The same of an ask: every instance that it drew about, without label and loss.

    Raises NoDataError where there is no such ask.
    """
    asked = warehouse.read(ASKED).where(F.col("ask_id") == ask_id)
    day = F.to_date("event_time")
    first, last = asked.select(F.min(day), F.max(day)).collect()[0]
    if first is None:
        raise NoDataError(
            f"--asked = {ask_id}: no such ask. Remedy: give the ask_id that `tenforward select"
            " --unlabelled` told."
        )
    nothing = F.lit(None).cast("double")
    rows = asked.select(
        "instance_id",
        F.lit(False).alias("held_out"),
        "model_version",
        nothing.alias("label"),
        nothing.alias("loss"),
        *("score", "probability", "drawn"),
    )
    records = in_window(warehouse.read("forward_records"), first, last)
    own = _newest(records, "instance_id", "model_version")
    return rows.join(own, ["instance_id", "model_version"], "left").drop("model_version")


def _records(warehouse: Warehouse, manifest: Manifest) -> DataFrame:
    """The window's records, with the segment keys that the refresh went by."""
    inputs = manifest.inputs
    records, instances = (
        in_window(warehouse.read(name, inputs.versions[name]), inputs.window_start, manifest.ds)
        for name in ("forward_records", "instances")
    )
    if manifest.decided is not None and manifest.decided.keys_of_instances:
        return with_keys_of(instances, records, warehouse.pipeline.instances.segments)
    return records


def _newest(records: DataFrame, *keys: str) -> DataFrame:
    """The newest record of each key, by the order in which selection takes them."""
    moment: Column = F.struct("recorded_at", F.xxhash64("model_version", "batch_id"))
    newest = records.groupBy(*keys).agg(F.max_by(F.struct(*ANSWER), moment).alias("newest"))
    return newest.select(*keys, "newest.*")
