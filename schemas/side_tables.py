"""Tables beside the loop, which a warehouse may lack: who was asked, what was set aside, how models
did."""

from schemas.columns import Column, Table
from schemas.shared_columns import (
    COMMON_PROPERTIES,
    ENDS,
    EVENT_DATE,
    EVENT_TIME,
    INSTANCE_ID,
    MODEL_VERSION,
    PROBABILITY,
    SCORE,
    SKETCH_WIDTH,
)


def asked() -> Table:
    """Whom somebody was asked about a label: every instance that an ask drew about."""
    return Table(
        "asked",
        "One row an ask and instance without a label: its inclusion probability, asked or not.",
        (
            Column("ask_id", "string", "The ask: one draw of instances to be labelled."),
            INSTANCE_ID,
            EVENT_TIME,
            Column("model_version", "string", "The model of the record."),
            SCORE,
            PROBABILITY,
            Column("drawn", "bool", "Whether its label is asked for."),
            Column("cut", "timestamp", "By when it had no label, UTC."),
        ),
        partition_by=("ask_id",),
        properties=COMMON_PROPERTIES | {"delta.appendOnly": "true"},
        optional=True,
    )


def set_aside() -> Table:
    """Instances that are not to be learnt from, because somebody found them wrong."""
    return Table(
        "set_aside",
        "One row an instance and time that it was set aside, or taken back; the newest counts.",
        (
            INSTANCE_ID,
            Column("aside", "bool", "True: no candidate any more; false: one again."),
            Column("reason", "string", "Why, in words."),
            Column("by", "string", "Who said so."),
            Column("at", "timestamp", "When, UTC."),
        ),
        properties=COMMON_PROPERTIES | {"delta.appendOnly": "true"},
        optional=True,
    )


def performance() -> Table:
    """How served models did: a later cut adds rows where more is known, and overwrites none."""

    def number(name: str, doc: str) -> Column:
        return Column(name, "float64", doc, nullable=True)

    def interval(name: str, doc: str) -> tuple[Column, ...]:
        ends = (number(f"{name}_{end}", f"The {end} end of its interval.") for end in ENDS)
        return (number(name, doc), *ends)

    return Table(
        "performance",
        "One row an event day, model version, segment level and cut at which it had changed.",
        (
            EVENT_DATE,
            MODEL_VERSION,
            Column("segment", "string", "The segment key; `all` of every record."),
            Column("level", "string", "The level of that key; `all` of every record."),
            Column("cut", "timestamp", "Labels count as known up to here, UTC."),
            Column("instances", "int64", "Instances of the day and level."),
            Column("recorded", "int64", "Those of them that a record is of, of any model."),
            Column("records", "int64", "Records of the version out of sample, one an instance."),
            Column("matured", "int64", "Those of them whose label counts."),
            *interval("loss", "Mean loss of the matured records."),
            number("expected_loss", "The mean loss that the predictions of all records expect."),
            number("expected_loss_matured", "The same of the matured records alone."),
            *interval("loss_gap", "loss - expected_loss_matured, record by record."),
            *interval("auc", "Area under the ROC curve (binary)."),
            number("auc_error", "How far auc may at most be from that of unbinned logits."),
            number("predicted", "Mean prediction of the matured records."),
            number("observed", "Mean of what these predict, as the labels have it."),
            *interval("calibration_ratio", "Predicted to observed (binary, multiclass)."),
            Column("confidence", "float64", "Of the intervals.", nullable=True),
            number("prediction_drift", "Of predictions: population stability index."),
            Column(
                "segment_drift",
                "floats",
                "The same of each segment key, in the pipeline's order; of the level `all`.",
                nullable=True,
            ),
            Column(
                "sketch_drift",
                "floats",
                "Standardised mean difference of each number of the sketch; of the level `all`.",
                nullable=True,
                at_most=SKETCH_WIDTH,
            ),
        ),
        properties=COMMON_PROPERTIES | {"delta.appendOnly": "true"},
        optional=True,
    )
