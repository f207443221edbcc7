"""Columns and properties that several tables share."""

from schemas.columns import NOT_NEGATIVE, POSITIVE_SHARE, Column

SKETCH_WIDTH = 16
ENDS = ("low", "high")  # of an interval
MAX_LOGITS = 16

# Reader version 1 and plain files: the trainer is handed a list of Parquet files, which knows
# nothing of deletion vectors or column mapping. Retention outlives a year of reproduction.
COMMON_PROPERTIES = {
    "delta.enableDeletionVectors": "false",
    "delta.columnMapping.mode": "none",
    "delta.logRetentionDuration": "interval 400 days",
    "delta.deletedFileRetentionDuration": "interval 30 days",
}

INSTANCE_ID = Column("instance_id", "string", "The instance: one thing the model is asked about.")
EVENT_TIME = Column("event_time", "timestamp", "When the model is asked, UTC.")
EVENT_DATE = Column("event_date", "date", "UTC date of event_time.")
REFRESH_ID = Column("refresh_id", "string", "The refresh: one run of selection.")
MODEL_VERSION = Column("model_version", "string", "Registry version of the model that answered.")
ROW_WEIGHT = Column(
    "row_weight",
    "float32",
    "What the row itself counts for, by labels.weight, and in `weight` already; null: 1.",
    nullable=True,
    range=NOT_NEGATIVE,
)
SCORE = Column("score", "float64", "The size measure, at least 0.")
PROBABILITY = Column("probability", "float64", "Inclusion probability.", range=POSITIVE_SHARE)
