"""One definition: every table stands once, and all its forms derive from it (law 6)."""

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable as Snapshot
from deltalake import write_deltalake
from pyspark.sql import types as T

from schemas.columns import Column, Table
from schemas.pipeline import load_pipeline
from schemas.tables import all_tables, forward_records
from spark_jobs.storage.creation import create
from tests.helpers.flights_loop import PIPELINE

TABLES = all_tables(load_pipeline(PIPELINE))


@pytest.mark.parametrize("name", list(TABLES))
def test_law_6_storage_has_the_columns_constraints_and_partitions_of_the_definition(loop, name):
    table, warehouse = TABLES[name], loop["warehouse"]
    stored = Snapshot(warehouse.path(name))
    fields = warehouse.read(name).schema.fields
    wanted = T.StructType.fromDDL(table.spark_ddl).fields
    assert [(f.name, f.dataType, f.nullable) for f in fields] == (
        [(f.name, f.dataType, f.nullable) for f in wanted]
    )
    assert tuple(stored.metadata().partition_columns) == table.partition_by
    settings = stored.metadata().configuration
    assert {k: settings.get(k) for k in table.properties} == table.properties
    constraints = {k.removeprefix("delta.constraints."): v for k, v in settings.items()}
    assert {k: constraints.get(k) for k in table.constraints} == table.constraints
    protocol = stored.protocol()
    assert (protocol.min_reader_version, protocol.reader_features) == (1, None)


@pytest.mark.parametrize("name", list(TABLES))
def test_every_column_says_what_it_is(name):
    assert [column.name for column in TABLES[name].columns if len(column.doc) < 5] == []


def test_the_forms_of_one_table():
    table = Table(
        "t",
        "A table.",
        (Column("id", "string", "The id."), Column("x", "float32", "It's x.", True)),
    )
    assert table.spark_ddl == (
        "`id` STRING NOT NULL COMMENT 'The id.', `x` FLOAT COMMENT 'It\\'s x.'"
    )
    assert table.arrow_schema == pa.schema(
        [pa.field("id", pa.string(), nullable=False), pa.field("x", pa.float32())]
    )
    assert table.reader_fields == {"x": np.dtype(np.float32)}
    assert table.constraints == {"x_valid": "x IS NULL OR (x BETWEEN -1e30 AND 1e30)"}


def test_a_column_defined_twice_is_refused():
    with pytest.raises(ValueError, match="defined twice: id"):
        Table("t", "A table.", (Column("id", "string", "One."), Column("id", "string", "Two.")))


GOOD = {"prediction": 0.5, "sketch": [0.1], "label": 1.0}
BAD = {
    "a prediction that is NaN": {"prediction": float("nan")},
    "a prediction that is infinite": {"prediction": float("inf")},
    "no prediction": {"prediction": None},
    "a sketch with NaN": {"sketch": [0.1, float("nan")]},
    "a sketch too long": {"sketch": [0.1] * 17},
    "a label that is NaN": {"label": float("nan")},
}


@pytest.fixture(scope="module")
def empty_records(spark, tmp_path_factory) -> str:
    from spark_jobs.storage.warehouse import Warehouse

    warehouse = Warehouse(str(tmp_path_factory.mktemp("schemas")), load_pipeline(PIPELINE))
    create(warehouse, forward_records())
    return warehouse.path("forward_records")


def record(changes: dict) -> pa.Table:
    moment = pa.scalar(0, pa.timestamp("us", tz="UTC")).as_py()
    row = {
        "instance_id": "a", "event_time": moment, "event_date": moment.date(),
        "model_version": "1", "batch_id": "b", "recorded_at": moment, "logits": None,
        "loss": None, "segments": ["x"], **GOOD, **changes,
    }  # fmt: skip
    return pa.Table.from_pylist([row], schema=forward_records().arrow_schema)


@pytest.mark.parametrize("fault", list(BAD))
def test_both_writers_refuse_what_is_not_a_number(spark, empty_records, fault):
    before = Snapshot(empty_records).version()
    with pytest.raises(Exception, match=r"(?i)constraint|validation"):
        write_deltalake(empty_records, record(BAD[fault]), mode="append")
    with pytest.raises(Exception, match="DELTA_VIOLATE_CONSTRAINT"):
        spark.createDataFrame(record(BAD[fault])).write.format("delta").mode("append").save(
            empty_records
        )
    assert Snapshot(empty_records).version() == before


def test_both_writers_accept_a_good_record(spark, empty_records):
    before = Snapshot(empty_records).version()
    for changes in ({}, {"sketch": None, "label": None}):
        write_deltalake(empty_records, record(changes), mode="append")
        spark.createDataFrame(record(changes)).write.format("delta").mode("append").save(
            empty_records
        )
    assert Snapshot(empty_records).version() == before + 4
