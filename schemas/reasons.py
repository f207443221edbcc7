"""Why a record is refused: the names that `forward_rejects.reason` takes, each with its rule.

Standard library only: the recorder, the scoring job, the ingest of other logs and selection all
give these reasons.
"""

from datetime import timedelta

from schemas import bounds

# Clocks of model servers differ; beyond this an event time lies in the future of its record.
CLOCK_SKEW = timedelta(minutes=5)

MISSING = "missing"
NOT_FINITE = "not-finite"
NO_PREDICTION = "no-prediction"
NOT_A_PROBABILITY = "not-a-probability"
NOT_A_PROPENSITY = "not-a-propensity"
WRONG_ARITY = "wrong-arity"
UNKNOWN_MODEL = "unknown-model"
FUTURE_EVENT = "future-event"
DUPLICATE_DIFFERS = "duplicate-differs"
BAD_LABEL = "bad-label"
BAD_WEIGHT = "bad-weight"
LABEL_DIFFERS = "label-differs"
UNREADABLE = "unreadable"
UNPARSED = "unparsed"
OTHER_SHAPE = "other-shape"
MISDATED = "misdated"
WRONG_DATE = "wrong-date"
NO_INSTANCE = "no-instance"

REASONS: dict[str, str] = {
    MISSING: "instance id, event time or model version is null or empty",
    NOT_FINITE: "prediction, logits, label or sketch is NaN, infinite or beyond"
    f" {bounds.LARGEST_SQL}",
    NO_PREDICTION: "neither the prediction nor the logits that the task needs",
    NOT_A_PROBABILITY: "a probability outside [0, 1]",
    NOT_A_PROPENSITY: "the chance with which a log kept it is not in (0, 1], or below"
    f" {bounds.LEAST_CHANCE:g}",
    WRONG_ARITY: "the number of logits, segment keys or sketch numbers is not what is declared",
    UNKNOWN_MODEL: "the model version is not in the registry",
    FUTURE_EVENT: "the event time is more than 5 minutes after the moment of recording",
    DUPLICATE_DIFFERS: "the same instance, model, batch and moment has another record too",
    BAD_LABEL: "not a label of the task: 0 or 1, a class from 0, or a finite number",
    BAD_WEIGHT: "the label's labels.weight is null, negative, NaN, infinite or beyond"
    f" {bounds.LARGEST_SQL}",
    LABEL_DIFFERS: "another label of the instance became known at the same moment",
    UNREADABLE: "a moment of recording, an id or a key of somebody else's log cannot be read",
    UNPARSED: "a payload of somebody else's log is no JSON",
    OTHER_SHAPE: "a value of somebody else's log is not where it should be or of another kind, or"
    " the lists of a row differ in length",
    MISDATED: "the date column of somebody else's log is more than a day from the event time",
    WRONG_DATE: "the event date is not the UTC date of the event time",
    NO_INSTANCE: "no instance of the window has this id",
}
