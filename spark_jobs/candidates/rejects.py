"""Which records and labels cannot be used, and what becomes of them: kept, with the reason."""

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType

from schemas.reasons import LABEL_DIFFERS, MISSING, WRONG_DATE
from schemas.rules import (
    Absent,
    AbsentBeside,
    Empty,
    EntryOtherThan,
    Fractional,
    HoldsOutside,
    Later,
    LengthOutside,
    NotAmong,
    Outside,
    Rule,
    Test,
)
from spark_jobs.candidates.content import KEY, LABEL_SAID, SAID
from spark_jobs.storage.warehouse import Warehouse

LABEL_KEY = ("instance_id", "known_at")


def first_fault(rules: Sequence[Rule]) -> Column:
    """The reason of the first rule by which a row cannot be used; null where it can."""
    nothing = F.lit(None).cast("string")
    return F.coalesce(*(F.when(_broken(rule), F.lit(rule.reason)) for rule in rules), nothing)


def label_fault(rules: Sequence[Rule]) -> Column:
    """The same of a label, which must be somebody's."""
    nobody = F.coalesce(F.col("instance_id"), F.lit("")) == ""
    return F.coalesce(F.when(nobody, F.lit(MISSING)), first_fault(rules))


def record_fault(rules: Sequence[Rule]) -> Column:
    """The same of a record as the table has it, whose event date must be that of its event."""
    return F.coalesce(first_fault(rules), F.when(is_dated_otherwise(), F.lit(WRONG_DATE)))


def is_dated_otherwise() -> Column:
    """Whether `event_date` is not the UTC date of `event_time`, whatever the session's zone."""
    return _known(F.unix_date("event_date") != day_of("event_time"))


def day_of(moment: str) -> Column:
    """The UTC date of a moment, in days since 1970."""
    seconds = F.unix_seconds(moment)
    return ((seconds - F.pmod(seconds, F.lit(86_400))) / 86_400).cast("int")


def _broken(rule: Rule) -> Column:
    return reduce(or_, map(_holds, rule.tests))


def _holds(test: Test) -> Column:
    """Whether a test holds of a row; never null."""
    match test:
        case Empty(column):
            return F.coalesce(F.col(column), F.lit("")) == ""
        case Absent(columns):
            return F.coalesce(*columns).isNull()
        case AbsentBeside(column, other):
            return F.col(column).isNull() & F.col(other).isNotNull()
        case Outside(column, least, most):
            return _known(~F.col(column).between(least, most))  # Spark orders NaN last
        case HoldsOutside(column, least, most):
            inside = (F.array_min(column) >= least) & (F.array_max(column) <= most)
            return _known(~inside) | _holds_null(column)
        case Fractional(column):
            return _known(F.rint(column) != F.col(column))
        case LengthOutside(column, least, most):
            return _known(~F.size(column).between(least, most))
        case EntryOtherThan(column, place, value):
            return _known(F.get(column, F.lit(place)) != value)
        case Later(column, than, by):
            return _known(F.col(column) > F.col(than) + F.lit(by))
        case NotAmong(column, values):
            return _known(~F.col(column).isin(*values))


def _holds_null(column: str) -> Column:
    """Whether a list holds a null, which the least and the largest pass over.

    Asked for a value that is not there, `array_contains` is null where one of the entries is; of a
    list with infinity, which is outside every range, it may say what it likes.
    """
    return F.coalesce(
        F.array_contains(column, F.lit(float("inf")).cast("float")), F.col(column).isNotNull()
    )


def _known(condition: Column) -> Column:
    return F.coalesce(condition, F.lit(False))


def content(rows: DataFrame, names: Iterable[str] = SAID) -> Column:
    """`candidates.content.content` of each row."""
    shapes = (
        F.coalesce(F.size(name), F.lit(-1))
        if isinstance(rows.schema[name].dataType, ArrayType)
        else F.isnull(name).cast("int")
        for name in names
    )
    return F.xxhash64(*names, *shapes)


def said_by(labels: DataFrame) -> list[str]:
    """The columns of labels that are what these say."""
    return [name for name in LABEL_SAID if name in labels.columns]


def contradicting(records: DataFrame) -> DataFrame:
    """Records of one instance, model, batch and moment that differ: all of them."""
    differ = _differs(KEY, content(records))
    return records.withColumn("_differ", differ).where("_differ").drop("_differ")


def label_faults(labels: DataFrame, rules: Sequence[Rule]) -> DataFrame:
    """Labels with the `fault` of each: that of the rules, or that another label of the instance
    became known at the same moment; null where there is none.

    labels: instance_id, known_at, label, row_weight where it counts, and any others.
    """
    fault = label_fault(rules)
    sound = F.when(fault.isNull(), content(labels, said_by(labels)))
    differs = F.when(fault.isNull() & _differs(LABEL_KEY, sound), F.lit(LABEL_DIFFERS))
    return labels.withColumn("fault", F.coalesce(fault, differs))


def _differs(key: Sequence[str], said: Column) -> Column:
    """Whether of the rows of one key some say something else than others; nulls say nothing."""
    same = Window.partitionBy(*key)
    return F.coalesce(F.min(said).over(same) != F.max(said).over(same), F.lit(False))


def rejects_of(records: DataFrame, batch: str, record: Column | None = None) -> DataFrame:
    """`records` in the form of `forward_rejects`.

    records: instance_id, event_date, the reason as `fault`, and any others. record: the record as
    it came, where the columns are not that.
    """
    columns = (F.col(name) for name in records.columns if name != "fault")
    as_it_came = F.to_json(F.struct(*columns)) if record is None else record
    return records.select(
        "instance_id",
        "event_date",
        F.lit(batch).alias("batch_id"),
        F.col("fault").alias("reason"),
        as_it_came.alias("record"),
        F.current_timestamp().alias("rejected_at"),
    )


def reject(warehouse: Warehouse, records: DataFrame, batch: str) -> int:
    """Append `records` to `forward_rejects`, once a batch; the version that holds them."""
    return warehouse.append_once(rejects_of(records, batch), "forward_rejects", batch)
