"""Whom to ask, as a list; and what they answered, from a file."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq

from schemas.errors import ConfigurationError, DataQualityError
from spark_jobs.estimation.frame import SamplingFrame, answer_column, count


def write_list(frame: SamplingFrame, file: Path) -> int:
    """Write the drawn instances for others to answer, held-out ones last; how many."""
    drawn = frame.rows.filter(frame.rows["drawn"]).select(["instance_id", "held_out"])
    drawn = drawn.sort_by([("held_out", "ascending"), ("instance_id", "ascending")])
    write_csv(drawn, file)
    return drawn.num_rows


def write_csv(rows: pa.Table, file: Path) -> None:
    """Write the list of `--list`. Raises ConfigurationError where the file is there."""
    try:
        with file.open("xb") as target:
            csv.write_csv(rows, target)
    except FileExistsError as error:
        raise ConfigurationError(
            f"--list = {file}: it is there, with answers perhaps. Remedy: name another file."
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"--list = {file}: cannot be written ({error.strerror}). Remedy: name a file in a"
            " folder that is there."
        ) from error


def read_answers(file: Path, columns: list[str]) -> pa.Table:
    """instance_id and the columns, each as its `answer_column`, a row an instance, of a Parquet or
    CSV file.

    Raises ConfigurationError for a file or column that is not there and for two of one name,
    DataQualityError for an id that is null or stands twice.
    """
    try:
        if file.suffix == ".parquet":
            table = pq.read_table(file)
        else:
            ids = csv.ConvertOptions(column_types={"instance_id": pa.string()})
            table = csv.read_csv(file, convert_options=ids)
    except (OSError, pa.ArrowInvalid) as error:
        raise ConfigurationError(
            f"--answers = {file}: cannot be read ({error}). Remedy: give a Parquet file, or CSV"
            " with a header line."
        ) from error
    wanted = ("instance_id", *columns)
    missing = [name for name in wanted if name not in table.column_names]
    if missing:
        raise ConfigurationError(
            f"--answers = {file}: no column {', '.join(map(repr, missing))}; it has"
            f" {', '.join(table.column_names)}. Remedy: add it, or name another."
        )
    for name in wanted:
        if (times := table.column_names.count(name)) > 1:
            raise ConfigurationError(
                f"--answers = {file}: the column {name!r} stands {times} times. Remedy: rename all"
                " but one."
            )
    ids = pc.cast(table["instance_id"], pa.string())
    if ids.null_count or pc.count_distinct(ids).as_py() < len(ids):
        twice = pc.value_counts(ids.combine_chunks())
        worst = max(twice.to_pylist(), key=lambda one: one["counts"])
        raise DataQualityError(
            f"--answers = {file}: instance_id is null in {ids.null_count} rows, and"
            f" {worst['values']!r} stands {worst['counts']} times. Remedy: one row an instance."
        )
    return pa.table({"instance_id": ids} | {answer_column(name): table[name] for name in columns})


def with_answers(frame: SamplingFrame, answers: pa.Table) -> SamplingFrame:
    """The frame with the answers' columns. Held-out rows, where none was asked, are left out.

    `not_asked` counts answers about others than the drawn. Raises DataQualityError where some of
    the held-out rows were answered and others were not.
    """
    names = [name for name in answers.column_names if name != "instance_id"]
    place = pc.index_in(frame.rows["instance_id"], value_set=answers["instance_id"])
    found = place.is_valid()
    rows, held = frame.rows, frame.rows["held_out"]
    asked = pc.and_(held, found)
    counts = dict(frame.counts)
    answered, all_held = count(asked), counts["held_out"]
    counts["not_asked"] = answers.num_rows - count(pc.and_(found, rows["drawn"]))
    if 0 < answered < all_held:
        raise DataQualityError(
            f"--answers: {answered} of {all_held} held-out rows are answered. Remedy: answer all of"
            " them, or none: the estimate is then of the other rows."
        )
    for name in names:
        rows = rows.append_column(name, answers[name].take(place.combine_chunks()))
    if not answered and all_held:
        rows = rows.filter(pc.invert(held))
        counts |= {
            "rows": rows.num_rows,
            "drawn": counts["drawn"] - all_held,
            "held_out": 0,
            "held_out_not_asked": all_held,
        }
    return SamplingFrame(rows, counts)
