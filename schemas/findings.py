"""What can be wrong with a pipeline's data: every kind of finding once, with what it says and what
to do about it. `tenforward check` looks for all of them; `select` for those that it passes by.
"""

from typing import NamedTuple

REPEATED = "repeated-instance"
DIFFERS = "instance-differs"
REUSED = "id-reused"
INSTANCE_DATE = "instance-date"
LABEL_DATE = "label-date"
LABEL_EARLY = "label-before-event"
LABEL_UNKNOWN = "label-without-instance"
RECORD_TIME = "record-time"
ORPHAN = "record-without-instance"
NO_RECORD = "instance-without-record"
NO_LABEL = "record-without-label"
NO_TRAFFIC = "day-without-instance"
STALE = "stale"
NULL_KEY = "null-key"
NULL_ENTITY = "null-entity"
NAN = "not-a-number"
FUTURE = "future-event"
CONTRADICTION = "view-differs"
BAD_RECORDS = "bad-records"
BAD_LABELS = "bad-labels"


class FindingKind(NamedTuple):
    """A kind of finding; `remedy` may name the table's {path}."""

    says: str
    remedy: str
    severity: str = "error"  # with which `check` exits with 4; else warning, or note


_DELETE = "delete what is wrong, `DELETE FROM delta.`{path}` WHERE ...` in Spark"

KINDS: dict[str, FindingKind] = {
    REPEATED: FindingKind(
        "rows of one id that say the same; they count as one",
        "none is needed; let the writer of instances append each once",
        "warning",
    ),
    DIFFERS: FindingKind(
        "rows of one id that differ; select, score and bootstrap refuse them",
        f"keep one row an id: {_DELETE}, by the id and a column that tells the rows apart, and"
        " repeat the command (docs/runbook.md, An instance stands twice)",
    ),
    REUSED: FindingKind(
        "ids that stand for an event at one time and for another at another time",
        "an id is for one event and for ever: put the day or a sequence number into it, and write"
        " these instances, records and labels anew",
    ),
    INSTANCE_DATE: FindingKind(
        "instances whose event_date is not the UTC date of their event_time",
        "`UPDATE delta.`{path}` SET event_date = CAST(event_time AS DATE)` in a Spark session of"
        " zone UTC, and mend the writer; where event_time is local time, mend that first",
    ),
    LABEL_DATE: FindingKind(
        "labels whose event_date is not that of their instance; a window by date passes them over",
        "date labels by their event, not by their arrival (that is known_at): `MERGE INTO"
        " delta.`{path}` l USING instances i ON l.instance_id = i.instance_id WHEN MATCHED THEN"
        " UPDATE SET l.event_date = i.event_date`",
    ),
    LABEL_EARLY: FindingKind(
        "labels that are known before their event",
        "write both times in UTC: one of them is local time, or known_at is not the arrival",
    ),
    LABEL_UNKNOWN: FindingKind(
        "labels of ids that no instance has",
        "append their instances, or correct the ids of the labels",
        "warning",
    ),
    ORPHAN: FindingKind(
        "records of ids that no instance has; select refuses them",
        "append their instances, or correct the ids of the writer of records",
    ),
    RECORD_TIME: FindingKind(
        "records whose event_time is more than 5 minutes from that of their instance",
        "record the event_time of the instance, in UTC: differences of whole hours are those of a"
        " time zone",
    ),
    NO_RECORD: FindingKind(
        "of a day's instances fewer have a record than check.coverage asks for",
        "score these days (`tenforward score --ds DAY`) or import their records; where instances"
        " are meant to have none, lower check.coverage",
    ),
    NO_LABEL: FindingKind(
        "of a day's records fewer have a matured label than they should",
        "append the labels of these days, dated by their event; where few labels come at all,"
        " set check.label_coverage and check.label_delay",
    ),
    NO_TRAFFIC: FindingKind(
        "days without an instance between days that have some; they are skipped",
        "none is needed where nothing was asked; else ingest these days",
        "note",
    ),
    STALE: FindingKind(
        "the newest row is older than its limit (check.freshness, or the ttl of a view)",
        "run the job that fills the table, or raise its limit in [check.freshness]",
    ),
    NULL_KEY: FindingKind(
        "rows without a key or a time: nothing ever meets them",
        f"{_DELETE}, and let the writer give every key",
    ),
    NULL_ENTITY: FindingKind(
        "instances without an entity key: the features of that view are their defaults",
        "none is needed where it is not known; else let the writer give the key",
        "warning",
    ),
    NAN: FindingKind(
        "numbers that are NaN or infinite; the feature's default stands for them",
        "write null for what is not known, and mend the writer",
        "warning",
    ),
    FUTURE: FindingKind(
        "events in the future: of now, or of the moment when their file was written",
        "write event times in UTC: local time ahead of it lies in the future",
    ),
    CONTRADICTION: FindingKind(
        "rows of one entity, timestamp and created timestamp with other values; the largest win",
        f"keep one of them: {_DELETE}; a correction gets a later created timestamp",
    ),
    BAD_RECORDS: FindingKind(
        "records that select refuses",
        "mend the writer of these records; those of the window are in forward_rejects",
    ),
    BAD_LABELS: FindingKind(
        "labels that select refuses",
        "append a correction with a later known_at, and mend the writer",
    ),
}
