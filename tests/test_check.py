"""`tenforward check`: what a table lacks, has wrong or has too much, each with its remedy."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable as Snapshot
from deltalake import write_deltalake

import tenforward
from schemas.conformance import differences
from schemas.pipeline import load_pipeline
from schemas.tables import all_tables, forward_records
from tests.helpers.flights_loop import PIPELINE

OURS = forward_records()


def stored(
    folder: Path, schema: pa.Schema, partition_by: tuple[str, ...] = OURS.partition_by
) -> str:
    """An empty table of somebody else's."""
    write_deltalake(str(folder), schema.empty_table(), partition_by=list(partition_by) or None)
    return str(folder)


def errors(path: str) -> dict[str, tuple[str, str]]:
    """(expected, found) of every error, by what it is about."""
    found = differences(OURS, Snapshot(path))
    return {f.what: (f.expected, f.found) for f in found if f.severity == "error"}


def changed(**types: pa.DataType | None) -> pa.Schema:
    """The documented schema with columns left out (None) or of another type."""
    fields = {field.name: field for field in OURS.arrow_schema}
    for name, kind in types.items():
        if kind is None:
            del fields[name]
        else:
            fields[name] = pa.field(name, kind)
    return pa.schema(fields.values())


def test_a_table_of_the_documented_columns_has_no_error(tmp_path):
    assert errors(stored(tmp_path, OURS.arrow_schema)) == {}


def test_missing_wrong_and_extra_columns_are_told_apart(tmp_path):
    schema = changed(
        sketch=None, prediction=pa.string(), segments=pa.list_(pa.int64()), score=pa.float64()
    ).append(pa.field("shard", pa.int32(), nullable=False))
    found = differences(OURS, Snapshot(stored(tmp_path, schema)))
    told = {
        f.what: (f.severity, f.expected, f.found) for f in found if f.what.startswith("column ")
    }
    assert told == {
        "column prediction": ("error", "DOUBLE", "STRING"),
        "column segments": ("error", "ARRAY<STRING>", "ARRAY<BIGINT>"),
        "column sketch": ("error", "ARRAY<FLOAT>", "no such column"),
        "column shard": ("error", "no such column", "INT NOT NULL"),
        "column score": ("warning", "no such column", "DOUBLE"),
    }
    assert [f.severity for f in found] == sorted(f.severity for f in found)
    assert all(len(f.remedy) > 10 for f in found)


def test_another_partitioning_is_an_error(tmp_path):
    assert errors(stored(tmp_path, OURS.arrow_schema, ())) == {
        "partitioning": ("event_date", "none")
    }


def test_missing_constraints_and_properties_are_warnings_with_the_statement_that_adds_them(
    tmp_path,
):
    found = differences(OURS, Snapshot(stored(tmp_path, OURS.arrow_schema)))
    remedies = {f.what: f.remedy for f in found if f.severity == "warning"}
    assert (
        "ADD CONSTRAINT predicted CHECK (prediction IS NOT NULL" in remedies["constraint predicted"]
    )
    assert "'delta.appendOnly' = 'true'" in remedies["property delta.appendOnly"]


def test_nothing_is_found_in_the_tables_that_we_make(loop):
    warehouse = loop["warehouse"]
    for name, table in all_tables(load_pipeline(PIPELINE)).items():
        assert differences(table, Snapshot(warehouse.path(name))) == []


def check(capfd, *arguments: str) -> tuple[int, dict]:
    code = tenforward.main(["check", "--pipeline", PIPELINE, *arguments])
    return code, json.loads(capfd.readouterr().out.splitlines()[-1])


def test_the_command_exits_with_2_and_lists_the_findings(capfd, tmp_path):
    path = stored(tmp_path / "log", changed(prediction=None))
    code, result = check(capfd, "--table", "forward_records", "--path", path)
    assert (code, result["exit_code"]) == (2, 2)
    assert "column prediction: expected DOUBLE, found no such column. Remedy" in result["error"]
    assert result["findings"][0]["what"] == "column prediction"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--path", "somewhere"], "--table"),
        (["--table", "records"], "'records'"),
        (["--table", "labels", "--path", "nowhere"], "a Delta table at nowhere"),
    ],
)
def test_law_7_what_cannot_be_checked_is_refused(capfd, arguments, words):
    code, result = check(capfd, *arguments)
    assert (code, words in result["error"]) == (2, True)


def test_a_whole_warehouse_that_lacks_its_tables_names_each(capfd, tmp_path):
    code, result = check(capfd, "--warehouse", str(tmp_path))
    assert code == 2
    tables = all_tables(load_pipeline(PIPELINE)).values()
    assert len(result["findings"]) == len([one for one in tables if not one.optional])


def test_checking_needs_no_spark():
    code = "import sys, spark_jobs.check; print('pyspark' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "False"
