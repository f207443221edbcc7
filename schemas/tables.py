"""Every table of tenforward, defined once (law 6).

Four tables take columns of the pipeline's own (`instances`, `labels`, `features/<view>`,
`sampled` with its twin `holdout`); the others are the same for every pipeline.
"""

from typing import TYPE_CHECKING

from schemas.columns import CHANCE, Column, ColumnType, Table
from schemas.sections.store import Feature, FeatureView
from schemas.shared_columns import (
    COMMON_PROPERTIES,
    EVENT_DATE,
    EVENT_TIME,
    INSTANCE_ID,
    MAX_LOGITS,
    MODEL_VERSION,
    PROBABILITY,
    REFRESH_ID,
    ROW_WEIGHT,
    SCORE,
    SKETCH_WIDTH,
)
from schemas.side_tables import asked, performance, set_aside
from schemas.statistics import WIDTH

if TYPE_CHECKING:
    from schemas.pipeline import Pipeline


def forward_records() -> Table:
    """What each forward pass leaves behind; constant size, append only."""
    return Table(
        "forward_records",
        "One row an instance, model version and batch: what one forward pass leaves behind.",
        (
            INSTANCE_ID,
            EVENT_TIME,
            EVENT_DATE,
            MODEL_VERSION,
            Column("batch_id", "string", "The write that appended this row; unique to it."),
            Column("recorded_at", "timestamp", "When the forward pass ran, UTC."),
            Column(
                "prediction",
                "float64",
                "Logit (binary) or value (regression); null for multiclass.",
                nullable=True,
            ),
            Column(
                "logits",
                "floats",
                f"Logits of a multiclass model, at most {MAX_LOGITS}; else null.",
                nullable=True,
                at_most=MAX_LOGITS,
            ),
            Column(
                "statistics",
                "floats",
                f"What is kept of more than {MAX_LOGITS} logits, by schemas/statistics.py; else"
                " null.",
                nullable=True,
                size=WIDTH,
            ),
            Column("label", "float64", "Label, where known at the forward pass.", nullable=True),
            Column("loss", "float64", "Loss, where the label was known.", nullable=True),
            Column("segments", "strings", "Segment keys, in the order the pipeline declares."),
            Column(
                "sketch",
                "floats",
                f"Fixed projection of the last hidden layer, at most {SKETCH_WIDTH} numbers.",
                nullable=True,
                at_most=SKETCH_WIDTH,
            ),
            Column(
                "propensity",
                "float64",
                "Chance in (0, 1] with which the log kept this forward pass; null for 1.",
                nullable=True,
                range=CHANCE,
            ),
        ),
        partition_by=("event_date",),
        checks={
            "predicted": "prediction IS NOT NULL OR logits IS NOT NULL OR statistics IS NOT NULL"
        },
        properties=COMMON_PROPERTIES | {"delta.appendOnly": "true"},
    )


def forward_rejects() -> Table:
    """Records that cannot be used, as they came, with the reason."""
    return Table(
        "forward_rejects",
        "One row a record that cannot be used: the record as it came, and why.",
        (
            Column("instance_id", "string", "The instance, where one was given.", nullable=True),
            Column("event_date", "date", "UTC date of the batch that held the record."),
            Column("batch_id", "string", "The write that met the record."),
            Column("reason", "string", "Why it was refused."),
            Column("record", "string", "The record as it came, as JSON (NaN as a string)."),
            Column("rejected_at", "timestamp", "When it was refused, UTC."),
        ),
        partition_by=("event_date",),
        properties=COMMON_PROPERTIES | {"delta.appendOnly": "true"},
    )


def selection_probabilities() -> Table:
    """Every candidate of every refresh, drawn or not."""
    return Table(
        "selection_probabilities",
        "One row a refresh and candidate: its score, its inclusion probability, drawn or not.",
        (
            REFRESH_ID,
            INSTANCE_ID,
            EVENT_TIME,
            Column("model_version", "string", "The model of the record; empty without a record."),
            Column("label", "float64", "The label as known at the cut."),
            Column(
                "loss",
                "float64",
                "The loss of the record's prediction on that label; null without a record.",
                nullable=True,
            ),
            SCORE,
            PROBABILITY,
            Column(
                "probability_negative",
                "float64",
                "Inclusion probability had the label been 0, where an offset is used.",
                nullable=True,
            ),
            Column(
                "probability_positive",
                "float64",
                "Inclusion probability had the label been 1, where an offset is used.",
                nullable=True,
            ),
            Column("drawn", "bool", "Whether the candidate was drawn."),
            Column("weight", "float64", "Training weight; 0 where not drawn."),
            Column("offset", "float64", "Logit offset in training; 0 where none is used."),
            Column("position", "int64", "Place in the sample, from 0; -1 where not drawn."),
        ),
        partition_by=("refresh_id",),
        # Candidates stand in the order of a hash: no file can be skipped for its least and largest.
        properties=COMMON_PROPERTIES | {"delta.dataSkippingNumIndexedCols": "0"},
    )


def refreshes() -> Table:
    """The manifests: a refresh exists when its row is here, and not before."""
    return Table(
        "refreshes",
        "One row a refresh: the manifest, written last, so that its presence is the commit.",
        (
            REFRESH_ID,
            Column("pipeline", "string", "Name of the pipeline."),
            Column("ds", "date", "The day whose end is the cut."),
            Column("policy", "string", "Name of the policy."),
            Column("window_start", "date", "First event date of the window."),
            Column("cut", "timestamp", "Labels and features count as known up to here, UTC."),
            Column("seed", "int64", "Seed of the draw, as `draw` takes it."),
            Column("config", "string", "Configuration of the selection, as JSON."),
            Column("config_digest", "string", "SHA-256 of that configuration."),
            Column("input_versions", "string", "Delta version of each table read, as JSON."),
            Column("candidates", "int64", "Number of candidates N."),
            Column("drawn", "int64", "Number of drawn rows k."),
            Column("rejected", "int64", "Records of the window refused for their values."),
            Column("held_out", "int64", "Number of rows in `holdout` for this refresh."),
            Column("sampled_version", "int64", "Delta version of `sampled` to read."),
            Column("holdout_version", "int64", "Delta version of `holdout` to read."),
            Column(
                "files",
                "string",
                "Files of `sampled`, as JSON: path from the warehouse on, rows, bytes and SHA-256.",
            ),
            Column("sample_digest", "string", "SHA-256 over id, probability, weight and offset."),
            Column("report", "string", "The report card, as JSON."),
            Column("created_at", "timestamp", "When the manifest was written, UTC."),
            # Null in manifests of format 1, which knew less.
            Column("format", "int64", "Of the manifest, schemas/manifests.py.", nullable=True),
            Column(
                "decided",
                "string",
                "What decided the draw beside all this: budget, engine, mixture, ..., as JSON.",
                nullable=True,
            ),
            Column(
                "probabilities_version",
                "int64",
                "Delta version of `selection_probabilities` that this refresh wrote.",
                nullable=True,
            ),
            Column("holdout_files", "string", "Files of `holdout`, as `files`.", nullable=True),
            Column(
                "ledger",
                "string",
                "Forward passes that pay for it, backward passes planned, ..., as JSON.",
                nullable=True,
            ),
        ),
        properties=COMMON_PROPERTIES,
    )


def backward_passes() -> Table:
    """What trainings have cost, while they went on: a row for each time that they said so."""
    return Table(
        "backward_passes",
        "One row a training and time of counting: the backward passes since its row before.",
        (
            Column("training_id", "string", "The run of the trainer; unique to it."),
            Column("refresh_id", "string", "The refresh whose rows went through the steps."),
            Column("ds", "date", "The day of that refresh."),
            Column("purpose", "string", "training, bootstrap, twin or study."),
            Column("backward_passes", "int64", "Rows that went through a step since then."),
            Column("counted_at", "timestamp", "When that was written down, UTC."),
        ),
        properties=COMMON_PROPERTIES | {"delta.appendOnly": "true"},
    )


def instances(pipeline: "Pipeline") -> Table:
    """What the model was asked about, with the features known at serving time."""
    return Table(
        "instances",
        "One row an instance: when it was asked about, its entity keys and logged features.",
        (INSTANCE_ID, EVENT_TIME, EVENT_DATE, *pipeline.instances.as_columns()),
        partition_by=("event_date",),
        properties=COMMON_PROPERTIES,
    )


def labels(pipeline: "Pipeline") -> Table:
    """Labels as they arrive; a correction is a later row, a label may never come."""
    return Table(
        "labels",
        "One row an instance and arrival of its label.",
        (
            INSTANCE_ID,
            EVENT_DATE,
            Column("known_at", "timestamp", "When this value became known, UTC."),
            *pipeline.labels.as_columns(),
        ),
        partition_by=("event_date",),
        properties=COMMON_PROPERTIES,
    )


def feature_view(view: FeatureView) -> Table:
    """One feature view of the store, in Feast's words."""
    entities = (Column(name, "string", "Entity key.") for name in view.entity)
    return Table(
        f"features/{view.name}",
        view.description,
        (
            *entities,
            Column(view.timestamp_field, "timestamp", "When the values held, UTC."),
            Column(view.created_timestamp_column, "timestamp", "When they became known, UTC."),
            *view.as_columns(),
        ),
        properties=COMMON_PROPERTIES,
    )


def sampled(pipeline: "Pipeline") -> Table:
    """The training rows of every refresh, ready for tensors: no null, no string feature."""
    return Table(
        "sampled",
        "One row a refresh and drawn instance: encoded features, label, weight, offset.",
        (
            REFRESH_ID,
            INSTANCE_ID,
            Column("position", "int64", "Place in the sample, from 0; the files follow it."),
            *_model_columns(pipeline),
            Column("weight", "float32", "Training weight, mean 1 in expectation."),
            Column("offset", "float32", "Logit offset, added in training only."),
            Column("probability", "float64", "Inclusion probability of the row."),
            *_row_weight(pipeline),
        ),
        partition_by=("refresh_id",),
        properties=COMMON_PROPERTIES,
    )


def holdout(pipeline: "Pipeline") -> Table:
    """The held-out rows of the window, never drawn: what the promotion gate measures on."""
    return Table(
        "holdout",
        "One row a refresh and held-out instance: encoded features and label, never trained on.",
        (
            REFRESH_ID,
            INSTANCE_ID,
            Column("position", "int64", "Place in the set, from 0."),
            *_model_columns(pipeline),
            Column("segments", "strings", "Segment keys, in the order the pipeline declares."),
            Column("forward", "bool", "Whether it was asked after every day drawn from."),
            *_row_weight(pipeline),
        ),
        partition_by=("refresh_id",),
        properties=COMMON_PROPERTIES,
    )


def _row_weight(pipeline: "Pipeline") -> tuple[Column, ...]:
    """The column of a pipeline whose rows have weights of their own."""
    return (ROW_WEIGHT,) if pipeline.labels.weight else ()


def _model_columns(pipeline: "Pipeline") -> tuple[Column, ...]:
    """Encoded features in the pipeline's order, then the label."""
    features = tuple(_model_column(name, spec) for name, spec in pipeline.features.items())
    return (*features, Column("label", "float32", "The label as known at the cut."))


_FORMS: dict[str, ColumnType] = {"category": "int32", "number": "float32", "tensor": "floats"}


def _model_column(name: str, feature: Feature) -> Column:
    size = feature.size if feature.kind == "tensor" else None
    return Column(name, _FORMS[feature.kind], f"Feature, {feature.kind}.", size=size)


def fixed_tables() -> list[Table]:
    """The tables that take no column of a pipeline's own."""
    return [
        forward_records(),
        forward_rejects(),
        selection_probabilities(),
        refreshes(),
        backward_passes(),
        asked(),
        set_aside(),
        performance(),
    ]


def all_tables(pipeline: "Pipeline") -> dict[str, Table]:
    """Every table of a pipeline by name, which is also its folder in the warehouse."""
    views = [feature_view(view) for view in pipeline.feature_views]
    own = [instances(pipeline), labels(pipeline), sampled(pipeline), holdout(pipeline)]
    return {table.name: table for table in [*views, *own, *fixed_tables()]}
