"""Does a Delta table on storage fit its definition in `schemas/tables.py`? No Spark, no JVM."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

from deltalake import DeltaTable as Snapshot

from schemas.columns import TYPES, Column, Table

# A property that is not set has Delta's default.
_DEFAULTS = ((None, "false"), (None, "none"))
_NAMES = {"integer": "INT", "long": "BIGINT", "short": "SMALLINT", "byte": "TINYINT"}


@dataclass(frozen=True)
class Finding:
    """One difference; an `error` keeps a job from using the table, a `warning` does not."""

    severity: Literal["error", "warning"]
    table: str
    what: str  # "column prediction", "partitioning", "constraint predicted", "property ..."
    expected: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return (
            f"table {self.table}, {self.what}: expected {self.expected}, found {self.found}."
            f" Remedy: {self.remedy}."
        )

    def as_dict(self) -> dict[str, str]:
        """For the JSON result."""
        return asdict(self)


def differences(table: Table, stored: Snapshot) -> list[Finding]:
    """Every difference between the definition and what is stored, errors first."""
    where = f"delta.`{stored.table_uri.rstrip('/')}`"
    findings = [
        *_columns(table, stored, where),
        *_extra_columns(table, stored, where),
        *_partitioning(table, stored),
        *_protocol(table, stored, where),
        *_settings(table, stored, where),
    ]
    # A stable order, and "error" before "warning".
    return sorted(findings, key=lambda finding: finding.severity)


def _fields(stored: Snapshot) -> dict[str, dict[str, Any]]:
    fields = json.loads(stored.schema().to_json())["fields"]
    return {field["name"]: field for field in fields}


def _ddl(kind: Any) -> str:
    """A type of Delta's log as Spark's DDL has it."""
    if isinstance(kind, dict):
        if kind["type"] == "array":
            return f"ARRAY<{_ddl(kind['elementType'])}>"
        return str(kind["type"]).upper()
    return _NAMES.get(kind, str(kind).upper())


def _columns(table: Table, stored: Snapshot, where: str) -> list[Finding]:
    fields = _fields(stored)
    findings: list[Finding] = []
    for column in table.columns:
        what, wanted = f"column {column.name}", TYPES[column.type].spark
        field = fields.get(column.name)
        if field is None:
            remedy = _add(column, where)
            findings.append(Finding("error", table.name, what, wanted, "no such column", remedy))
        elif _ddl(field["type"]) != wanted:
            remedy = f"write the table anew with CAST({column.name} AS {wanted})"
            kind = _ddl(field["type"])
            findings.append(Finding("error", table.name, what, wanted, kind, remedy))
        elif field["nullable"] and not column.nullable:
            remedy = (
                f"where it holds no null, ALTER TABLE {where} ALTER COLUMN {column.name} SET NOT"
                " NULL"
            )
            findings.append(Finding("warning", table.name, what, "NOT NULL", "nullable", remedy))
    return findings


def _add(column: Column, where: str) -> str:
    kind = TYPES[column.type].spark
    add = f"run `tenforward migrate`, or ALTER TABLE {where} ADD COLUMN {column.name} {kind}"
    if column.nullable:
        return f"{add} (it may stay null)"
    return f"{add} and fill it ({column.doc.rstrip('.')})"


def _extra_columns(table: Table, stored: Snapshot, where: str) -> list[Finding]:
    findings = []
    for name, field in _fields(stored).items():
        if name in table.column_names:
            continue
        what, kind = f"column {name}", _ddl(field["type"])
        if field["nullable"]:
            remedy = "none is needed: jobs neither read nor fill it"
            findings.append(Finding("warning", table.name, what, "no such column", kind, remedy))
        else:
            remedy = (
                f"run `tenforward migrate`, or ALTER TABLE {where} ALTER COLUMN {name} DROP NOT"
                " NULL: no job would fill it"
            )
            kind = f"{kind} NOT NULL"
            findings.append(Finding("error", table.name, what, "no such column", kind, remedy))
    return findings


def _partitioning(table: Table, stored: Snapshot) -> list[Finding]:
    partition_by = tuple(stored.metadata().partition_columns)
    if partition_by == table.partition_by:
        return []
    wanted = ", ".join(table.partition_by) or "none"
    remedy = (
        f"write the table anew, partitioned by {wanted}: windows are read, and rows counted, by"
        " partition"
    )
    there = ", ".join(partition_by) or "none"
    return [Finding("error", table.name, "partitioning", wanted, there, remedy)]


def _protocol(table: Table, stored: Snapshot, where: str) -> list[Finding]:
    protocol = stored.protocol()
    if protocol.min_reader_version == 1:
        return []
    features = ", ".join(protocol.reader_features or []) or "none"
    remedy = (
        f"ALTER TABLE {where} DROP FEATURE for each, or write the table anew with"
        " delta.enableDeletionVectors = false and delta.columnMapping.mode = none: readers of plain"
        " files would not see what was deleted or renamed"
    )
    there = f"{protocol.min_reader_version} (features: {features})"
    return [Finding("error", table.name, "reader version", "1", there, remedy)]


def _settings(table: Table, stored: Snapshot, where: str) -> list[Finding]:
    """Constraints and properties: without them the jobs work, but nothing guards the table."""
    there = stored.metadata().configuration
    findings = []
    for name, check in table.constraints.items():
        have = there.get(f"delta.constraints.{name}")
        if have != check:
            remedy = f"ALTER TABLE {where} ADD CONSTRAINT {name} CHECK ({check})"
            what = f"constraint {name}"
            findings.append(Finding("warning", table.name, what, check, have or "none", remedy))
    for key, value in table.properties.items():
        have = there.get(key)
        if have != value and (have, value) not in _DEFAULTS:
            remedy = f"ALTER TABLE {where} SET TBLPROPERTIES ('{key}' = '{value}')"
            what = f"property {key}"
            findings.append(Finding("warning", table.name, what, value, have or "not set", remedy))
    return findings
