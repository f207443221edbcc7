"""Opens a refresh: its manifest, and the files it pinned, checked against storage.

Three accounts of the sample must agree before a row is read: the manifest, the Delta snapshot of
the pinned version, and storage. A refresh that was vacuumed or altered is refused by name.
"""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable as Snapshot
from deltalake.exceptions import DeltaError, TableNotFoundError

from schemas.allowance import Allowance
from schemas.digest import sha256_of
from schemas.encoding import Encoding, encoding_then
from schemas.errors import ConfigurationError, DataQualityError, NoDataError
from schemas.footer import least_in, rows_in
from schemas.manifests import BOOTSTRAP, Inputs, Manifest, read_manifests
from schemas.pipeline import Pipeline
from schemas.places import size_of, within
from schemas.record_step import RecordStep, step_in

NEWEST_SHOWN = 5
FILE_GROUP_ROWS = 1 << 16  # at least: opening a reader costs as much as some 10,000 rows


@dataclass(frozen=True, order=True)
class DataFile:
    """One Parquet file of a pinned version."""

    path: str  # absolute, or a URI
    rows: int
    bytes: int
    start: int = field(default=0, compare=False)  # its first position


@dataclass(frozen=True)
class FileGroup:
    """Files that hold a run of positions: what one reader reads."""

    start: int
    rows: int
    files: tuple[DataFile, ...]


@dataclass(frozen=True)
class Refresh:
    """One refresh as its manifest describes it, its files found whole."""

    refresh_id: str
    policy: str
    ds: str
    sample_digest: str
    drawn: int
    held_out: int
    sampled: tuple[DataFile, ...]
    file_groups: tuple[FileGroup, ...]
    holdout: tuple[DataFile, ...]
    allowance: Allowance | None = None
    inputs: Inputs | None = None
    versions: Mapping[str, int] = field(default_factory=dict)  # of all tables read and written
    encoding: Encoding | None = None  # of the rows; None where an earlier release did not say
    segments: tuple[str, ...] | None = None  # the keys of the held-out rows; None as for encoding
    record_step: RecordStep | None = None  # of the model that served, where its records gave one

    @property
    def group_sizes(self) -> list[int]:
        """Rows of each file group, by position."""
        return [group.rows for group in self.file_groups]


def open_refresh(warehouse: str, pipeline: Pipeline | None, refresh_id: str) -> Refresh:
    """The refresh, ready to be read; of this pipeline, if one is given.

    Raises ConfigurationError when it (or a table) does not exist, DataQualityError when it is not
    what its manifest says any more.
    """
    manifests = _manifests(warehouse, refresh_id=refresh_id)
    if not manifests:
        known = _manifests(warehouse, **({"pipeline": pipeline.name} if pipeline else {}))
        newest = ", ".join(one.refresh_id for one in known[:NEWEST_SHOWN]) or "none"
        where = pipeline.name if pipeline else warehouse
        raise ConfigurationError(
            f"--refresh {refresh_id}: not in table refreshes; the newest of {where} are: {newest}."
            " Remedy: name one of these, or run `tenforward select` first."
        )
    if len(manifests) > 1:
        raise _refused(refresh_id, f"table refreshes has {len(manifests)} manifests of it")
    manifest = manifests[0]
    if pipeline is not None and manifest.pipeline != pipeline.name:
        raise ConfigurationError(
            f"--refresh {refresh_id}: belongs to pipeline {manifest.pipeline!r}, not"
            f" {pipeline.name!r}. Remedy: give that pipeline's file as --pipeline."
        )
    encoding, segments = _encoded(manifest)
    if pipeline is not None and encoding is not None:
        _require_features(refresh_id, encoding, pipeline)
    counts = manifest.counts
    sampled = _sampled_files(warehouse, manifest)
    holdout = _pinned(warehouse, "holdout", manifest.holdout.version, refresh_id, counts.held_out)
    _require_bytes(warehouse, manifest)
    return Refresh(
        refresh_id=refresh_id,
        policy=manifest.policy,
        ds=manifest.ds.isoformat(),
        sample_digest=manifest.sample_digest,
        drawn=counts.drawn,
        held_out=counts.held_out,
        sampled=sampled,
        file_groups=_file_groups(refresh_id, sampled),
        holdout=holdout,
        allowance=manifest.allowance,
        inputs=manifest.inputs,
        versions=manifest.versions(),
        encoding=encoding,
        segments=segments,
        record_step=step_in(manifest.report, refresh_id),
    )


def _encoded(manifest: Manifest) -> tuple[Encoding | None, tuple[str, ...] | None]:
    """How the rows of a refresh were encoded, and their segment keys; None where that is not
    known."""
    try:
        segments = json.loads(manifest.config)["instances"]["segments"]
        return encoding_then(manifest.config), tuple(segments)
    except (ValueError, KeyError, TypeError):  # pydantic's errors are ValueErrors
        return None, None


def _require_features(refresh_id: str, encoding: Encoding, pipeline: Pipeline) -> None:
    """Refuse a refresh whose rows lack a feature of the pipeline. Other buckets, defaults and
    sources are taken as they are: the model's bundle says by which its rows were encoded."""
    lacks = [
        name
        for name, feature in pipeline.features.items()
        if name not in encoding.features or encoding.features[name].kind != feature.kind
    ]
    if lacks:
        raise ConfigurationError(
            f"--refresh {refresh_id}: was selected before {', '.join(lacks)} came into [features]"
            " as they are now. Remedy: select the day again with this pipeline file, and train on"
            " that refresh."
        )


def known_refreshes(warehouse: str, pipeline: Pipeline, policy: str | None = None) -> list[str]:
    """Refreshes of the pipeline (of one policy, if given), newest day first."""
    wanted = {"policy": policy} if policy else {}
    return [one.refresh_id for one in _manifests(warehouse, pipeline=pipeline.name, **wanted)]


def newest_refresh(warehouse: str, pipeline: Pipeline) -> str:
    """The newest refresh of the pipeline's own policy; before the first of these the bootstrap's.

    NoDataError if there is neither.
    """
    policy = pipeline.selection.policy
    known = known_refreshes(warehouse, pipeline, policy) or known_refreshes(
        warehouse, pipeline, BOOTSTRAP
    )
    if not known:
        raise NoDataError(
            f"pipeline {pipeline.name}: no refresh of policy {policy!r} yet, and no bootstrap."
            " Remedy: run `tenforward bootstrap`, or, once a model answers, `tenforward select`."
        )
    return known[0]


def _manifests(warehouse: str, **wanted: str) -> list[Manifest]:
    """Manifests in table `refreshes` that match, newest day first."""
    _table(warehouse, "refreshes", None)  # refuses a warehouse that has none
    return read_manifests(within(warehouse, "refreshes"), **wanted)


def _sampled_files(warehouse: str, manifest: Manifest) -> tuple[DataFile, ...]:
    """The sample's files, the manifest's list against the snapshot's."""
    name, version = manifest.refresh_id, manifest.sampled.version
    pinned = _pinned(warehouse, "sampled", version, name, manifest.counts.drawn)
    recorded = sorted(
        DataFile(within(warehouse, file.path), file.rows, file.bytes)
        for file in manifest.sampled.files
    )
    if recorded != list(pinned):
        both = len({file.path for file in recorded} & {file.path for file in pinned})
        raise _refused(
            name,
            f"its manifest lists {len(recorded)} files of {manifest.sampled.rows} rows,"
            f" version {version} of sampled has {len(pinned)} of"
            f" {sum(f.rows for f in pinned)} rows ({both} paths in common)",
        )
    return pinned


def _file_groups(refresh_id: str, files: Sequence[DataFile]) -> tuple[FileGroup, ...]:
    """The files by position, neighbours together until a group has `FILE_GROUP_ROWS` rows."""
    groups: list[FileGroup] = []
    group: list[DataFile] = []
    expected = 0
    for file in sorted((file for file in files if file.rows), key=lambda file: file.start):
        if file.start != expected:
            raise _refused(
                refresh_id,
                f"file {file.path} begins at position {file.start} where {expected} comes next",
            )
        expected += file.rows
        group.append(file)
        if expected - group[0].start >= FILE_GROUP_ROWS:
            groups.append(FileGroup(group[0].start, expected - group[0].start, tuple(group)))
            group = []
    if group:
        groups.append(FileGroup(group[0].start, expected - group[0].start, tuple(group)))
    return tuple(groups)


def _pinned(
    warehouse: str, table: str, version: int, name: str, expected: int
) -> tuple[DataFile, ...]:
    """Files of refresh `name` at a version of `table`, sorted by path, each whole on storage."""
    root = within(warehouse, table)
    try:
        snapshot = _table(warehouse, table, version)
    except DeltaError as error:
        raise _refused(name, f"version {version} of {table} is gone ({error})") from error
    actions = pa.table(snapshot.get_add_actions(flatten=True)).to_pylist()
    files = sorted(_data_file(root, a) for a in actions if a["partition.refresh_id"] == name)
    total = sum(file.rows for file in files)
    if total != expected:
        raise _refused(name, f"version {version} of {table} has {total} rows, not {expected}")
    for file in files:
        _check_on_storage(name, table, file)
    return tuple(files)


def _require_bytes(warehouse: str, manifest: Manifest) -> None:
    """Refuse a file whose bytes are not those that were written: a flipped bit is another value,
    and Parquet has no checksum that its readers look at."""
    known = [
        (file, within(warehouse, file.path))
        for file in (*manifest.sampled.files, *manifest.holdout.files)
        if file.sha256 is not None  # an earlier release kept none
    ]
    with ThreadPoolExecutor(max_workers=4) as pool:
        found = list(pool.map(sha256_of, (place for _, place in known)))
    for (file, place), digest in zip(known, found, strict=True):
        if digest != file.sha256:
            raise _refused(
                manifest.refresh_id,
                f"file {place} has other bytes (SHA-256 {digest}) than its manifest says"
                f" ({file.sha256})",
            )


def no_longer_read(refresh_id: str, error: Exception) -> DataQualityError:
    """What is raised where files that were whole at first cannot be read later on."""
    return _refused(refresh_id, f"its files changed or went while they were read ({error})")


def _data_file(root: str, action: Mapping[str, Any]) -> DataFile:
    """A file of the log; what its statistics lack is in its footer."""
    place = f"{root}/{unquote(action['path'])}"  # the log writes paths as URIs do
    rows, start = action.get("num_records"), action.get("min.position")
    if (rows is None or start is None) and size_of(place) is not None:  # else it is told as gone
        rows, start = rows_in(place), least_in(place, "position")
    return DataFile(place, rows or 0, action["size_bytes"], start=start or 0)


def _check_on_storage(name: str, table: str, file: DataFile) -> None:
    size = size_of(file.path)
    if size is None:
        raise _refused(name, f"file {file.path} of {table} is gone (vacuumed?)")
    if size != file.bytes:
        raise _refused(name, f"file {file.path} has {size} bytes, the table says {file.bytes}")


def _refused(refresh_id: str, what: str) -> DataQualityError:
    return DataQualityError(
        f"refresh {refresh_id}: refused, {what}. Remedy: run `tenforward select --rebuild` for its"
        " date, which makes the same sample again, and train on that."
    )


def _table(warehouse: str, table: str, version: int | None) -> Snapshot:
    folder = within(warehouse, table)
    try:
        return Snapshot(folder, version=version)
    except TableNotFoundError as error:
        raise ConfigurationError(
            f"table {table} = {folder}: not found. Remedy: run `tenforward select` first, or"
            " correct --warehouse."
        ) from error
