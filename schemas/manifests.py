"""The manifest of a refresh: what travels between Spark, the trainer and the console.

One row of the table `refreshes`; a refresh exists when its manifest does. Here alone is it turned
into a row and back, without Spark: the rows are small and few.

Format 2 brought the checksums of the files, places relative to the warehouse, the version of the
probabilities, and what decided the draw. A manifest of format 1 is read without them; one of a
later format than `FORMAT` is refused by name.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from functools import reduce
from operator import and_
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable as Snapshot
from pyarrow.dataset import Dataset, field

from schemas.allowance import Allowance
from schemas.errors import ConfigurationError, DataQualityError
from schemas.ownership import require_format
from schemas.stored import stored
from schemas.tables import refreshes

FORMAT = 2
BOOTSTRAP = "bootstrap"  # the policy of the first refresh, which no records decide
REPORT_CARDS = "report_cards"  # the folder of the HTML report cards, in the warehouse


@dataclass(frozen=True)
class StoredFile:
    """One Parquet file of a refresh."""

    path: str  # from the warehouse on
    rows: int
    bytes: int
    sha256: str | None = None  # of the whole file, in hexadecimal; not known of format 1


@dataclass(frozen=True)
class Part:
    """The rows of a refresh in one of its tables: the version to read, and the files there."""

    version: int
    files: tuple[StoredFile, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows the files hold."""
        return sum(file.rows for file in self.files)


@dataclass(frozen=True)
class Inputs:
    """What was read: event dates from `window_start` to the refresh's day, as known at `cut`, at
    one version of each table."""

    window_start: date
    cut: datetime
    versions: Mapping[str, int]


@dataclass(frozen=True)
class Decided:
    """What decided a draw beside the inputs, the configuration and the seed.

    budget: as `parse_budget` reads it, GPU hours as the rows they came to. engine: of the
    selection. mixture: the weight of each score, as the refresh `mixture_from` left them.
    model_versions: those that the registry had, a record of any other being refused; None where
    any was taken. learnt_until: the latest cut behind each of them whose origin was known; None
    where the newest record counted, whatever its model had learnt from. keys_of_instances: whether
    the segment keys were those of the instances, because records had some of another definition.
    elsewhere: by table, the place, format and id of those that are somebody else's; of Parquet,
    which has neither id nor versions, the version among the inputs is a digest of its files.
    """

    budget: str
    engine: int
    mixture: Mapping[str, float] = dataclasses.field(default_factory=dict)
    mixture_from: str | None = None
    model_versions: tuple[str, ...] | None = None
    learnt_until: Mapping[str, datetime] | None = None
    keys_of_instances: bool = False
    elsewhere: Mapping[str, Mapping[str, str | None]] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class RowCounts:
    """Rows: candidates, those drawn, those held out, and records that were refused."""

    candidates: int
    drawn: int
    held_out: int
    rejected: int


@dataclass(frozen=True)
class Manifest:
    """All that is known of one refresh."""

    refresh_id: str
    pipeline: str
    policy: str
    ds: date
    seed: int
    config: str  # of the selection, as canonical JSON
    config_digest: str
    inputs: Inputs
    counts: RowCounts
    sampled: Part
    holdout: Part
    sample_digest: str
    report: Mapping[str, Any]  # the figures of the report card
    created_at: datetime
    allowance: Allowance | None = None  # not known of releases before the ledger
    decided: Decided | None = None  # not known of format 1
    probabilities_version: int | None = None  # not known of format 1
    format: int = FORMAT

    def versions(self) -> dict[str, int]:
        """The table versions that the refresh read, and those that hold what it wrote."""
        return {**self.inputs.versions, **self.written()}

    def written(self) -> dict[str, int]:
        """The table versions that hold what the refresh wrote."""
        written = {"sampled": self.sampled.version, "holdout": self.holdout.version}
        if self.probabilities_version is not None:
            written["selection_probabilities"] = self.probabilities_version
        return written

    def to_table(self) -> pa.Table:
        """The one row of `refreshes`."""
        row = {
            "refresh_id": self.refresh_id,
            "pipeline": self.pipeline,
            "ds": self.ds,
            "policy": self.policy,
            "window_start": self.inputs.window_start,
            "cut": self.inputs.cut,
            "seed": self.seed,
            "config": self.config,
            "config_digest": self.config_digest,
            "input_versions": json.dumps(dict(self.inputs.versions), sort_keys=True),
            **asdict(self.counts),
            "sampled_version": self.sampled.version,
            "holdout_version": self.holdout.version,
            "files": json.dumps([asdict(file) for file in self.sampled.files]),
            "sample_digest": self.sample_digest,
            "report": json.dumps(self.report),
            "created_at": self.created_at,
            "format": self.format,
            "decided": None if self.decided is None else _as_json(self.decided),
            "probabilities_version": self.probabilities_version,
            "holdout_files": json.dumps([asdict(file) for file in self.holdout.files]),
            "ledger": None if self.allowance is None else json.dumps(asdict(self.allowance)),
        }
        return pa.Table.from_pylist([row], schema=refreshes().arrow_schema)


def manifest_of(row: Mapping[str, Any]) -> Manifest:
    """A row of `refreshes`. Raises ConfigurationError for a format that is not known here,
    DataQualityError for a damaged one."""
    written = row["format"] or 1
    if written > FORMAT:
        raise ConfigurationError(
            f"refresh {row['refresh_id']}: its manifest has format {written}, this release reads"
            f" up to {FORMAT}. Remedy: use the release of tenforward that wrote it, or a later one."
        )
    try:
        return _manifest_of(row, written)
    except (ValueError, TypeError, KeyError) as error:
        raise DataQualityError(
            f"refresh {row['refresh_id']}: its manifest is damaged ({error!r}). Remedy: restore the"
            " table refreshes to a version before, or select again with --force."
        ) from error


def _manifest_of(row: Mapping[str, Any], written: int) -> Manifest:
    decided = json.loads(row["decided"] or "null")
    allowance = json.loads(row["ledger"] or "null")
    return Manifest(
        refresh_id=row["refresh_id"],
        pipeline=row["pipeline"],
        policy=row["policy"],
        ds=row["ds"],
        seed=row["seed"],
        config=row["config"],
        config_digest=row["config_digest"],
        inputs=Inputs(row["window_start"], row["cut"], json.loads(row["input_versions"])),
        counts=RowCounts(row["candidates"], row["drawn"], row["held_out"], row["rejected"]),
        sampled=Part(row["sampled_version"], _files(row["files"], written)),
        holdout=Part(row["holdout_version"], _files(row["holdout_files"] or "[]", written)),
        sample_digest=row["sample_digest"],
        report=json.loads(row["report"]),
        created_at=row["created_at"].astimezone(UTC),
        allowance=None if allowance is None else Allowance(**allowance),
        decided=None if decided is None else _decided(decided),
        probabilities_version=row["probabilities_version"],
        format=written,
    )


def _files(text: str, written: int) -> tuple[StoredFile, ...]:
    files = [StoredFile(**file) for file in json.loads(text)]
    if written == 1:  # paths as Delta's log has them: from the table on, written as in a URI
        return tuple(
            StoredFile(f"sampled/{unquote(file.path)}", file.rows, file.bytes) for file in files
        )
    return tuple(files)


def _as_json(decided: Decided) -> str:
    told = asdict(decided)
    if not decided.elsewhere:  # as earlier releases, which know none, write and read it
        del told["elsewhere"]
    return json.dumps(told, default=datetime.isoformat)


def _decided(entry: Mapping[str, Any]) -> Decided:
    versions, learnt = entry["model_versions"], entry.get("learnt_until")
    typed = {
        "model_versions": None if versions is None else tuple(versions),
        "learnt_until": None
        if learnt is None
        else {version: datetime.fromisoformat(cut) for version, cut in learnt.items()},
    }
    return Decided(**{**entry, **typed})


def read_manifests(path: str, **wanted: str) -> list[Manifest]:
    """Manifests in the table at `path` whose columns equal `wanted`, newest day first; those of one
    day by the version of `sampled` that they made, which no clock can turn round.

    Raises deltalake's TableNotFoundError where there is no table.
    """
    matching = [field(name) == value for name, value in wanted.items()]
    rows = _rows(path)
    if rows is None:
        return []
    read = rows.to_table(filter=reduce(and_, matching) if matching else None)
    manifests = [manifest_of(row) for row in read.to_pylist()]
    return sorted(manifests, key=lambda one: (one.ds, one.sampled.version), reverse=True)


def read_cuts(path: str) -> tuple[dict[str, datetime], dict[str, datetime]]:
    """The cut of every refresh in the table at `path`, and `learnt_until` of every model version
    that one of them knew. Raises as `read_manifests` does."""
    rows = _rows(path)
    if rows is None:
        return {}, {}
    read = rows.to_table(columns=["refresh_id", "cut", "decided", "sampled_version"]).to_pylist()
    learnt: dict[str, datetime] = {}
    for row in sorted(read, key=lambda row: row["sampled_version"]):
        decided = json.loads(row["decided"] or "null")
        learnt |= (_decided(decided).learnt_until or {}) if decided else {}
    return {row["refresh_id"]: row["cut"].astimezone(UTC) for row in read}, learnt


def read_segments(path: str, pipeline: str) -> list[tuple[date, tuple[str, ...]]]:
    """The day of each refresh of a pipeline, and the segments as its file defined them then, oldest
    first; those whose manifest does not say it are left out. Raises as `read_manifests` does."""
    rows = _rows(path)
    if rows is None:
        return []
    read = rows.to_table(columns=["ds", "config"], filter=field("pipeline") == pipeline)
    found = [(row["ds"], json.loads(row["config"])) for row in read.to_pylist()]
    named = [
        (ds, tuple(config["instances"]["segments"]))
        for ds, config in found
        if "segments" in config.get("instances", {})
    ]
    return sorted(named)


def _rows(path: str) -> Dataset | None:
    snapshot = Snapshot(path)
    require_format(snapshot, path.removesuffix("/refreshes"))
    return stored(snapshot, refreshes().arrow_schema)


def find_manifest(path: str, refresh_id: str) -> Manifest | None:
    """The manifest of a refresh in the table at `path`, or None where it does not exist."""
    manifests = read_manifests(path, refresh_id=refresh_id)
    return manifests[0] if manifests else None
