"""Score: a model answers for a day's instances and leaves forward records, exactly once.

    spark-submit --py-files dist/tenforward.zip spark_jobs/score.py \\
        --pipeline pipelines/flights.toml --ds 2013-02-01

Repeated as instances arrive, it answers the new ones. The champion answers, or a version that is
named: its records stand beside the champion's, and selection takes the newest of an instance. Where
`[records]` names another source the champion answers nothing; a version that is named does.
"""

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, NamedTuple

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from inference.registered import RegisteredVersion, alias_version, find_champion, find_version
from schemas.bundle import read_card
from schemas.command import add_common_arguments, parse_date, pipeline_of, run_command
from schemas.encoding import Encoding, encoding_of
from schemas.errors import ConfigurationError, NoDataError
from schemas.log import about, log
from schemas.pipeline import Pipeline
from schemas.progress import step
from schemas.rules import rules_of
from spark_jobs.candidates.one_row import repeat
from spark_jobs.candidates.rejects import first_fault, rejects_of
from spark_jobs.days.answered import NAMED, SERVED, answered_days, mark, states, unanswered
from spark_jobs.days.brought import brought
from spark_jobs.features.answers import forward_passes
from spark_jobs.features.point_in_time import with_features
from spark_jobs.features.segments import segment_keys
from spark_jobs.features.sources import require_sources
from spark_jobs.storage.logs import require_owned
from spark_jobs.storage.settle import Keep, letting_go, settle
from spark_jobs.storage.warehouse import Warehouse
from spark_jobs.storage.while_starting import while_starting


def forward_records(
    instances: DataFrame, answers: DataFrame, pipeline: Pipeline, model_version: str
) -> DataFrame:
    """The records that the answers leave behind; the columns of the table, but the batch."""
    segments = segment_keys(pipeline.instances.segments)
    asked = instances.select("instance_id", "event_time", "event_date", segments.alias("segments"))
    nothing = F.lit(None).cast("double")
    return asked.join(answers, "instance_id", "inner").withColumns(
        {
            "model_version": F.lit(model_version),
            "recorded_at": F.current_timestamp(),
            "label": nothing,
            "loss": nothing,
            "propensity": nothing,
        }
    )


def score_day(warehouse: Warehouse, ds: date, model_version: str | None = None) -> dict[str, Any]:
    """Score a day, unless that is done; the result of the command. See `score_days`.

    Where the records come from elsewhere, whether they have come: `days.brought`.
    """
    name = warehouse.pipeline.name
    about(pipeline=name, ds=ds)
    if model_version is None and warehouse.pipeline.records_from != "score":
        return brought(warehouse.pipeline, warehouse.root, ds)
    _require_tables(warehouse)
    scored = score_days(warehouse, [ds], model_version)[0]
    about(pipeline=name, ds=ds, table_version=scored["version"])
    return scored


def _require_tables(warehouse: Warehouse) -> None:
    """Refuse a warehouse without what every scoring reads and writes. What the model reads is told
    by its bundle, so tables that the pipeline file is ahead of are for `migrate`, not for us."""
    warehouse.require("forward_records", "forward_rejects")
    there = set(require_owned(warehouse.pipeline, warehouse.root, "instances").names)
    keys = [key for key in warehouse.pipeline.instances.segments if key not in there]
    if keys:
        raise ConfigurationError(
            f"instances.segments = {keys[0]!r}: the table instances has no such column. Remedy: run"
            " `tenforward migrate`, or correct the pipeline file."
        )


def score_days(
    warehouse: Warehouse, dates: Sequence[date], model_version: str | None = None
) -> list[dict[str, Any]]:
    """Score what lacks an answer on several days: one job over them all, one append a day.

    model_version: the one that answers beside the champion; None lets the champion serve. Instances
    that arrive later are answered by the next run, and no instance twice (`days.answered`).
    Of a day that is not over only what has been asked by now is answered. Raises NoDataError for
    a day without instances, DataQualityError where rows of one id differ, ConflictError where
    another run scores one of the days meanwhile.
    """
    days = f"{dates[0]}" if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    with step(f"score {days}"):
        return _score_days(warehouse, dates, model_version)


def _score_days(
    warehouse: Warehouse, dates: Sequence[date], model_version: str | None
) -> list[dict[str, Any]]:
    now, version = datetime.now(UTC), warehouse.version("instances")
    state = states(warehouse, version)
    done = answered_days(warehouse, dates, state, model_version)
    todo = [ds for ds in dates if ds not in done]
    with letting_go() as keep:
        fresh = _score(warehouse, todo, version, now, model_version, keep) if todo else {}
    mark(warehouse, [ds for ds in todo if ds < now.date()], state, model_version)
    return [fresh.get(ds) or _already_done(warehouse, ds) for ds in dates]


def _already_done(warehouse: Warehouse, ds: date) -> dict[str, Any]:
    return {
        "status": "already done",
        "pipeline": warehouse.pipeline.name,
        "ds": ds,
        "version": warehouse.version("forward_records"),
    }


def _score(
    warehouse: Warehouse,
    dates: Sequence[date],
    version: int,
    now: datetime,
    model_version: str | None,
    keep: Keep,
) -> dict[date, dict[str, Any]]:
    """The results of the days on which an instance of that table version lacked an answer."""
    counts = warehouse.rows_by_date("instances", version)
    for ds in dates:
        if not counts.get(ds):
            raise NoDataError(
                f"--ds = {ds}: no instances on that UTC date. Remedy: ingest the day first, or"
                " correct the date."
            )
    # Numbered before the look for what is there: a run unseen competes for these numbers.
    numbers = {ds: _Numbers.next(warehouse, ds) for ds in dates}
    with step("fetching the model"):
        model = while_starting(warehouse, partial(_answering, warehouse, model_version))
    day = warehouse.read("instances", version).where(F.col("event_date").isin(*dates))
    day = day.where(F.col("event_time") <= F.lit(now))
    asked = sum(counts[ds] for ds in dates)
    with step(f"looking for what lacks an answer among {asked:,} instances"):
        lacking = unanswered(warehouse, day, dates, model.version, serves=model_version is None)
        instances = keep(settle(lacking, asked))
        if instances.isEmpty():
            return {}
        if repeat(instances, warehouse.path("instances")):
            instances = keep(settle(instances.dropDuplicates(), asked))
    encoding = read_card(model.folder).encoding_in(warehouse.pipeline)
    whose = f"model {model.name} version {model.version}"
    require_sources(warehouse.pipeline, warehouse.root, encoding, whose)
    _say_if_other(encoding, warehouse.pipeline, whose)
    features = with_features(warehouse, instances, encoding=encoding).drop("event_time")
    answers = forward_passes(features, model)
    records = forward_records(instances, answers, warehouse.pipeline, model.version)
    with step(f"answering at most {asked:,} instances"):
        records = keep(settle(records, asked))
    kind = SERVED if model_version is None else NAMED
    views = dict.fromkeys(name for name in warehouse.tables if name.startswith("features/"))
    read = warehouse.placed({"instances": version} | views)

    def finish(ds: date) -> dict[str, Any] | None:
        batch = f"{kind}{ds}/{model.version}/{numbers[ds].records}"
        done = _append(warehouse, ds, records.withColumn("batch_id", F.lit(batch)), numbers[ds])
        return done and done | {"inputs": read}

    # An append mostly waits for its commit.
    with step("writing records"), ThreadPoolExecutor(max_workers=4) as pool:
        results = zip(dates, pool.map(finish, dates), strict=True)
        return {ds: result for ds, result in results if result is not None}


def _say_if_other(encoding: Encoding, pipeline: Pipeline, whose: str) -> None:
    differences = encoding.differences(encoding_of(pipeline))
    if differences:
        told = "%s was trained before the pipeline file changed (%s): its own encoding is used"
        log.info(told, whose, ", ".join(differences))


class _Numbers(NamedTuple):
    """The numbers of a day's next transactions. All runs of a day compete, whatever the model."""

    application: str
    records: int
    rejects: int

    @classmethod
    def next(cls, warehouse: Warehouse, ds: date) -> "_Numbers":
        application = f"{SERVED}{ds}"
        records, rejects = (
            warehouse.next_number(name, application)
            for name in ("forward_records", "forward_rejects")
        )
        return cls(application, records, rejects)


def _append(
    warehouse: Warehouse, ds: date, records: DataFrame, numbers: _Numbers
) -> dict[str, Any] | None:
    """Append one day's records, the unusable ones to the rejects; None where there is none."""
    day = records.where(F.col("event_date") == F.lit(ds))
    day = day.withColumn("fault", first_fault(rules_of(warehouse.pipeline).record))
    counted = day.agg(
        F.count("*"), F.count("fault"), F.first("model_version"), F.first("batch_id")
    ).first()
    assert counted is not None
    total, bad, model_version, batch = counted
    if not total:
        return None
    # A kill between the two leaves rejects that the next run finds, and leaves alone.
    rejects = rejects_of(day.where("fault IS NOT NULL"), batch)
    warehouse.append_numbered(rejects, "forward_rejects", numbers.application, numbers.rejects)
    good = day.where("fault IS NULL")
    added = warehouse.append_numbered(good, "forward_records", numbers.application, numbers.records)
    return {
        "status": "done",
        "pipeline": warehouse.pipeline.name,
        "ds": ds,
        "model_version": model_version,
        "records": added.rows,
        "rejected": bad,
        "version": added.version,
        "outputs": warehouse.placed({"forward_records": added.version}),
    }


def _answering(warehouse: Warehouse, model_version: str | None) -> RegisteredVersion:
    """The version that is named; where none is, the champion. ConfigurationError if not there."""
    if model_version is not None:
        return find_version(warehouse.pipeline.name, model_version, warehouse.root)
    champion = find_champion(warehouse.pipeline.name, warehouse.root)
    if champion is None:
        raise ConfigurationError(
            f"model {warehouse.pipeline.name}: no champion in the registry. Remedy: run"
            " `tenforward bootstrap` and `tenforward train` first."
        )
    return champion


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(
        prog="tenforward score", description="Answer what lacks an answer of a day's instances."
    )
    add_common_arguments(line)
    line.add_argument("--ds", required=True, type=parse_date, help="UTC date of the instances")
    which = line.add_mutually_exclusive_group()
    which.add_argument("--model-version", metavar="V", help="answer with this version as well")
    which.add_argument("--alias", help="answer with the version of this alias as well: challenger")
    return line


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> session -> scoring."""
    args = parser().parse_args(argv)
    pipeline = pipeline_of(args)
    if args.ds > datetime.now(UTC).date():
        raise ConfigurationError(
            f"--ds = {args.ds}: this UTC day has not begun. Remedy: give today or an earlier day."
        )
    model_version = args.model_version
    if args.alias is not None:
        model_version = alias_version(pipeline.name, args.alias, args.warehouse)
    return score_day(Warehouse(args.warehouse, pipeline), args.ds, model_version)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
