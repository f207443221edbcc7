"""Versions of the model asked about the drawn rows of a refresh, and judged on all of its rows."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from inference.registered import RegisteredVersion, find_champion, find_served_on, find_version
from schemas.bundle import read_card
from schemas.encoding import Encoding
from schemas.errors import ConfigurationError
from schemas.losses import REGRESSION
from schemas.manifests import Manifest
from schemas.statistics import summarised
from spark_jobs.candidates.drawn_from import frame_of
from spark_jobs.candidates.narrow import in_window
from spark_jobs.estimation.all_traffic import ANCHOR, CHALLENGER, CHAMPION
from spark_jobs.estimation.answers import with_answers
from spark_jobs.estimation.frame import SamplingFrame, frame_from
from spark_jobs.features.answers import forward_passes
from spark_jobs.features.point_in_time import with_features
from spark_jobs.judging.judged_by import require_labels
from spark_jobs.judging.learnt import learnt_from, require_independent, unlearnt
from spark_jobs.refresh.registered import registered_versions
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.from_arrow import predictions
from spark_jobs.selection.tasks import loss, sigmoid, softmax
from spark_jobs.storage.settle import letting_go
from spark_jobs.storage.warehouse import Warehouse


def compared(
    warehouse: Warehouse, manifest: Manifest, challenger: str
) -> dict[str, RegisteredVersion]:
    """The models that the gate compares, by what they are: challenger, champion and anchor, of
    which the last two may not be there.

    Raises ConfigurationError where the challenger serves already.
    """
    pipeline, root = warehouse.pipeline, warehouse.root
    found = {CHALLENGER: find_version(pipeline.name, challenger, root)}
    champion = find_champion(pipeline.name, root)
    if champion is None:
        return found
    if champion.version == challenger:
        raise ConfigurationError(
            f"--challenger = {challenger}: it serves already. Remedy: name a version that does not."
        )
    found[CHAMPION] = champion
    if pipeline.gate.anchor_days is not None:
        day = manifest.ds - timedelta(days=pipeline.gate.anchor_days)
        anchor = find_served_on(pipeline.name, day, root)
        if anchor is not None and anchor.version not in (champion.version, challenger):
            found[ANCHOR] = anchor
    return found


def frame(warehouse: Warehouse, manifest: Manifest, models: Sequence[str] = ()) -> SamplingFrame:
    """The rows of the refresh, without those that one of these versions may have learnt from.

    Raises ConfigurationError where it cannot judge one of them.
    """
    if models:
        require_labels(manifest)
    rows = frame_of(warehouse, manifest)
    trained_on: dict[str, Manifest] = {}
    versions = registered_versions(warehouse.root, warehouse.pipeline.name) if models else {}
    for version in models:
        own = learnt_from(warehouse, version, versions, manifest.inputs.window_start)
        require_independent(manifest, own, version)
        trained_on |= {one.refresh_id: one for one in own}
    if trained_on:
        rows = _with_chances(rows, unlearnt(warehouse, list(trained_on.values()), manifest))
    segments = tuple(warehouse.pipeline.instances.segments)
    return frame_from(rows.toArrow(), warehouse.pipeline.task, segments)


def _with_chances(rows: DataFrame, chances: DataFrame | None) -> DataFrame:
    if chances is None:
        return rows
    others = {
        "learnt": F.coalesce("learnt", F.lit(False)),
        "unlearnt": F.coalesce("unlearnt", F.lit(1.0)),
    }
    return rows.join(chances, "instance_id", "left").withColumns(others)


def answered(
    warehouse: Warehouse,
    manifest: Manifest,
    whole: SamplingFrame,
    models: Mapping[str, RegisteredVersion],
) -> SamplingFrame:
    """The frame with what each model comes to on the drawn rows, null elsewhere: `challenger_loss`
    as selection counts losses, `challenger_judged` as the gate does, and of what has classes
    `challenger_predicted` and `challenger_observed`; the same of the others, by what they are."""
    drawn = whole.rows.filter(whole.rows["drawn"]).select(["instance_id", "label"])
    inputs, session = manifest.inputs, warehouse.spark
    ids = session.createDataFrame(drawn.select(["instance_id"]))
    instances = warehouse.read("instances", inputs.versions["instances"])
    instances = in_window(instances, inputs.window_start, manifest.ds)
    asked = instances.join(F.broadcast(ids), "instance_id").dropDuplicates(["instance_id"])
    features: list[tuple[Encoding, DataFrame]] = []  # most models read alike: joined once
    with letting_go() as keep:
        for of, model in models.items():
            encoding = read_card(model.folder).encoding_in(warehouse.pipeline)
            rows = next((one for known, one in features if known == encoding), None)
            if rows is None:
                rows = with_features(warehouse, asked, inputs.versions, encoding).drop("event_time")
                features.append((encoding, keep(rows.persist()) if len(models) > 1 else rows))
            answers = forward_passes(rows, model).toArrow()
            place = pc.index_in(answers["instance_id"], value_set=drawn["instance_id"])
            label = drawn["label"].take(place.combine_chunks()).to_numpy()
            columns = _columns(warehouse, predictions(answers), label)
            own = {f"{of}_{name}": pa.array(column) for name, column in columns.items()}
            whole = with_answers(whole, pa.table({"instance_id": answers["instance_id"], **own}))
    return whole


def _columns(warehouse: Warehouse, prediction: Array, label: Array) -> dict[str, Array]:
    """By what is asked of answers (n,) or (n, classes), a number a row."""
    task, settings = warehouse.pipeline.task, warehouse.pipeline.training
    own = loss(task, prediction, label)
    if task == "regression":
        error = np.abs(prediction - label)
        judged = REGRESSION[settings.loss](error, settings.huber_delta)
        return {"loss": own, "judged": judged}
    found = {"loss": own, "judged": own}
    if task == "binary":
        return found | {"predicted": sigmoid(prediction), "observed": label}
    if summarised(prediction):  # the loss is exact where the label is among the likeliest eight
        return found
    likeliest = prediction.argmax(axis=1)
    return found | {
        "predicted": softmax(prediction).max(axis=1),
        "observed": (likeliest == label).astype(float),
    }
