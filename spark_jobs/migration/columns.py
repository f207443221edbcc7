"""Tables that must follow the pipeline file: tables and columns that it has, columns that it has
dropped, and what a later release brought."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pyarrow as pa
from deltalake import DeltaTable as Snapshot
from deltalake import Field, Schema

from schemas.columns import TYPES, Table
from schemas.conformance import Finding, differences
from schemas.ownership import FORMAT, FORMAT_OF
from schemas.places import for_spark
from spark_jobs.migration.change import Change
from spark_jobs.storage.creation import create_missing
from spark_jobs.storage.properties import give, lacking, of_definition
from spark_jobs.storage.warehouse import Warehouse

# Tables with a column a feature, whose rows belong to refreshes and are never written anew.
OF_FEATURES = ("sampled", "holdout")


def column_steps(warehouse: Warehouse) -> Iterator[Change]:
    """What makes every table take what the jobs of this pipeline file write."""
    for name, table in warehouse.own_tables.items():
        if not warehouse.exists(name):
            yield Change(name, "create the table", partial(create_missing, warehouse))
            continue
        stored = Snapshot(warehouse.path(name))
        yield from _added(warehouse, table, stored)
        yield from _released(warehouse, table, stored)
        lacks = lacking(warehouse.path(name), of_definition(table) | {FORMAT_OF: str(FORMAT)})
        if lacks:
            told = ", ".join(f"{key} = {value}" for key, value in lacks.items())
            yield Change(name, f"set {told}", partial(give, warehouse.path(name), lacks))


def obstacles(warehouse: Warehouse) -> Iterator[Finding]:
    """What keeps a table from following, each with what to do instead: nothing is written anew."""
    for name, table in warehouse.own_tables.items():
        if not warehouse.exists(name):
            continue
        stored = Snapshot(warehouse.path(name))
        there = _names(stored)
        for finding in differences(table, stored):
            kind, _, column = finding.what.partition(" ")
            known = column in table.column_names
            addable = kind == "column" and known and column not in there
            loosened = kind == "column" and not known
            if finding.severity == "error" and not (addable or loosened):
                is_column = kind == "column"
                yield replace(finding, remedy=_instead(name, column)) if is_column else finding


def _instead(table: str, column: str) -> str:
    if table in OF_FEATURES:
        return (
            f"a feature keeps its kind: leave [features.{column}] out, and add one of another name"
            ' with source = "TABLE.COLUMN" of what it read'
        )
    return "a column keeps its type: leave it in the file as it was, and add one of another name"


def _names(stored: Snapshot) -> set[str]:
    return set(pa.schema(stored.schema().to_arrow()).names)


def _added(warehouse: Warehouse, table: Table, stored: Snapshot) -> Iterator[Change]:
    """Columns that the table lacks; null in the rows that are there."""
    missing = [column for column in table.columns if column.name not in _names(stored)]
    for column in missing:
        change = f"add the column {column.name} {TYPES[column.type].spark}, null in the rows there"
        yield Change(table.name, change, partial(_add, warehouse, table, column.name))


def _add(warehouse: Warehouse, table: Table, name: str) -> None:
    snapshot = Snapshot(warehouse.path(table.name))
    if name not in _names(snapshot):
        wanted = Schema.from_arrow(pa.schema([table.arrow_schema.field(name)]))
        snapshot.alter.add_columns([Field(f.name, f.type, nullable=True) for f in wanted.fields])


def _released(warehouse: Warehouse, table: Table, stored: Snapshot) -> Iterator[Change]:
    """Columns that the pipeline file has dropped: they stay, null in the rows to come."""
    for field in stored.schema().fields:
        if field.name not in table.column_names and not field.nullable:
            change = f"let the column {field.name}, which nothing fills any more, be null"
            yield Change(table.name, change, partial(_release, warehouse, table.name, field.name))
    names = {f"{field.name}_valid" for field in stored.schema().fields} - {*table.constraints}
    for name in sorted(names):
        if f"delta.constraints.{name}" in stored.metadata().configuration:
            change = f"drop the constraint {name}, which rows without the column would violate"
            yield Change(table.name, change, partial(_unconstrain, warehouse, table.name, name))


def _unconstrain(warehouse: Warehouse, table: str, name: str) -> None:
    Snapshot(warehouse.path(table)).alter.drop_constraint(name, raise_if_not_exists=False)


def _release(warehouse: Warehouse, table: str, column: str) -> None:
    place = for_spark(warehouse.path(table))
    warehouse.spark.sql(f"ALTER TABLE delta.`{place}` ALTER COLUMN `{column}` DROP NOT NULL")
