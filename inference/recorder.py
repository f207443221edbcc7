"""The forward recorder: leaves forward records from a model server, without Spark and a JVM.

`record` writes a request's rows to a local journal and returns: from then on they survive the
process. A thread stores them in `forward_records`, one Delta commit a file of the journal, which
carries the file's name as its transaction. So a file that was stored before a crash is recognised
and not stored again.
"""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import pyarrow as pa
from deltalake.exceptions import DeltaError

from inference.recording import given
from inference.recording.frame import frame_of, pipeline_of
from inference.recording.journal import Journal, JournalFile
from inference.recording.metrics import Metrics
from inference.recording.storing import Stored, require_own, store_file
from inference.registered import version_bearing
from schemas.errors import ConfigurationError, TenforwardError
from schemas.layout import located
from schemas.log import log
from schemas.pipeline import Pipeline, load_pipeline

SLOWEST_RETRY_S = 60.0


class JournalFullError(TenforwardError):
    """More waits in the journal than it may hold; the rows of this request were not recorded."""


class ForwardRecorder:
    """Records forward passes; one a process, safe to use from several threads.

    pipeline: the pipeline, or its file. model_version: the champion's where none is given.
    journal: a local folder of this process alone (default: $TENFORWARD_JOURNAL, else ./journal).
    A file there is stored once it has `file_bytes` or is `file_age_s` old. When the journal holds
    `journal_bytes` that storage has not taken, `when_full` decides: "raise" JournalFullError, or
    "block" the request up to `block_s`, then raise. `fsync` makes each request survive the loss of
    power too, at the price of a disk write. A process that was forked from this one opens a
    recorder of its own. Raises ConfigurationError where the journal is another process's or holds
    rows of another pipeline, where the warehouse is another pipeline's, and where no model version
    is given or found.
    """

    def __init__(
        self,
        pipeline: Pipeline | str | Path,
        *,
        warehouse: str | None = None,
        model_version: str | None = None,
        journal: str | Path | None = None,
        file_bytes: int = 16 << 20,
        file_age_s: float = 10.0,
        journal_bytes: int = 1 << 30,
        when_full: Literal["raise", "block"] = "raise",
        block_s: float = 5.0,
        fsync: bool = False,
    ) -> None:
        self.pipeline = pipeline if isinstance(pipeline, Pipeline) else load_pipeline(pipeline)
        place = warehouse or os.environ.get("TENFORWARD_WAREHOUSE", "./warehouse")
        self.warehouse = located(place, self.pipeline.name)
        require_own(self.pipeline, self.warehouse)
        self.model_version = self._champion() if model_version is None else model_version
        folder = Path(journal or os.environ.get("TENFORWARD_JOURNAL", "./journal"))
        self._journal, self._process = Journal(folder, fsync=fsync), os.getpid()
        self._require_own_rows()
        self._file_bytes, self._file_age_s = file_bytes, file_age_s
        self._journal_bytes, self._when_full, self._block_s = journal_bytes, when_full, block_s
        self._metrics, self._recorded = Metrics(), 0
        self._queued: dict[JournalFile, int] = {}
        # When each waiting file was begun; now, for those of an earlier process. And what it is
        # counted with in the sum: to ask the disk anew for every file would hold up requests.
        self._begun: dict[JournalFile, float] = {}
        self._sizes: dict[JournalFile, int] = {}
        self._waiting_bytes = 0
        self._take_in(self._journal.sealed())
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._store_all, name="forward-recorder")
        self._thread.daemon = True  # an interpreter that ends leaves the rest in the journal
        self._thread.start()

    def _require_own_rows(self) -> None:
        """Refuse a journal with rows of another pipeline: they belong into its warehouse."""
        for file in self._journal.sealed():
            for payload in self._journal.contents(file).payloads[:1]:  # one pipeline writes a file
                owner = pipeline_of(payload) or self.pipeline.name
                if owner != self.pipeline.name:
                    self._journal.close()
                    raise ConfigurationError(
                        f"journal = {self._journal.folder}: holds rows of pipeline {owner!r}, not"
                        f" {self.pipeline.name!r}. Remedy: open a recorder of {owner} there until"
                        " they are stored, and give each pipeline a journal of its own."
                    )

    def _champion(self) -> str:
        try:
            version = version_bearing(self.pipeline.name, self.warehouse)
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"model_version: none given, and the registry's client is not installed ({error})."
                " Remedy: name the version of the model that answers, or install mlflow."
            ) from error
        if version is None:
            raise ConfigurationError(
                f"model_version: none given, and {self.pipeline.name} has no champion in the"
                " registry. Remedy: name the version of the model that answers."
            )
        return version

    def record(
        self,
        ids: Any,
        event_times: Any,
        predictions: Any,
        *,
        labels: Any = None,
        segments: Mapping[str, Sequence[str | None]] | None = None,
        sketch: Any = None,
        model_version: str | None = None,
        kind: str | None = None,
        propensity: Any = None,
    ) -> None:
        """Take n rows into the journal.

        predictions: (n,) logits or values, or (n, classes) logits; kind="probability" for (n,)
        probabilities of a binary model. sketch: (n, at most 16). propensity: (n,) the chance in
        (0, 1] with which a server that records a part of its answers recorded each, None for 1.
        NumPy arrays, torch tensors or sequences. Raises ConfigurationError where the arrays do not
        fit together or hold what no row can, and once the recorder is closed; JournalFullError
        where storage is too far behind; OSError where the journal's disk is full. Then none of the
        rows is recorded. A row whose values cannot be used goes to `forward_rejects` later, with
        its reason; the others go on.
        """
        self._require_process()
        # Frames become Arrow later, in the thread that stores them.
        names = given.names(ids)
        frame = frame_of(
            self.pipeline,
            names,
            event_times,
            predictions,
            labels=labels,
            segments=segments,
            sketch=sketch,
            model_version=self.model_version if model_version is None else model_version,
            kind=kind,
            propensity=propensity,
            recorded_at=time.time_ns() // 1000,
        )
        if names:
            with self._changed:
                self._append(frame, len(names))

    def _require_process(self) -> None:
        """Refuse a process that was forked with the recorder in it: it has no thread that stores,
        and the journal is its parent's."""
        if os.getpid() != self._process:
            raise ConfigurationError(
                f"recorder: opened by process {self._process}, used by its fork {os.getpid()}."
                " Remedy: open it after the fork (gunicorn: in post_fork, or without preload), each"
                " process with a journal folder of its own."
            )

    def _append(self, frame: bytes, rows: int) -> None:
        self._make_room(len(frame))
        before = self._journal.open_bytes
        self._journal.append(frame)
        file, grown = self._journal.open_file, self._journal.open_bytes - before
        if file is not None:
            self._begun.setdefault(file, time.monotonic())
            self._sizes[file] = self._sizes.get(file, 0) + grown
            self._waiting_bytes += grown
            self._queued[file] = self._queued.get(file, 0) + rows
        self._recorded += rows
        if self._journal.open_bytes >= self._file_bytes:
            self._changed.notify_all()

    def _make_room(self, size: int) -> None:
        def fits() -> bool:
            return self._waiting_bytes + size <= self._journal_bytes

        if not fits() and self._when_full == "block" and not self._closing:
            self._changed.notify_all()
            self._changed.wait_for(lambda: fits() or self._closing, timeout=self._block_s)
        if self._closing:  # perhaps while this request waited
            raise ConfigurationError("recorder: it is closed. Remedy: record before it ends.")
        if not fits():
            raise JournalFullError(
                f"journal: {self._waiting_bytes:,} bytes wait of journal_bytes ="
                f" {self._journal_bytes:,}; the last error of storing them:"
                f" {self._metrics.last_error}. Remedy: mend the storage, or let the journal hold"
                " more."
            )

    def metrics(self) -> Metrics:
        """What has been done, and what waits; in a forked process, what did at the fork."""
        if os.getpid() != self._process:  # there a thread that is no more may hold the lock
            return self._told()
        with self._changed:
            return self._told()

    def _told(self) -> Metrics:
        now = time.monotonic()
        lag = now - min(self._begun.values(), default=now)
        return replace(
            self._metrics,
            recorded=self._recorded,
            queued=sum(self._queued.values()),
            journal_bytes=self._waiting_bytes,
            lag_s=round(lag, 3),
        )

    def close(self, timeout_s: float = 60.0) -> Metrics:
        """Store what waits, for at most `timeout_s`; the rest stays in the journal for the next.

        Raises nothing for it: nothing is lost, and `journal_bytes` says how much it is. May be
        called again, to wait longer; does nothing in a forked process, whose parent stores.
        """
        if os.getpid() != self._process:
            return self._metrics
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        metrics = self.metrics()
        if metrics.journal_bytes:
            log.error(
                "recorder: %d bytes stay in the journal, to be stored by the next recorder there:"
                " %s",
                metrics.journal_bytes,
                metrics.last_error,
            )
        if not self._thread.is_alive():
            self._journal.close()
        return metrics

    def __enter__(self) -> "ForwardRecorder":
        """The recorder."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def _store_all(self) -> None:
        """The thread: stores until all is stored and the recorder is closing.

        It outlives every exception: without it rows would be acknowledged and never stored.
        """
        pause, done = 0.0, False  # seconds, after a failure
        while not done:
            try:
                stored, done = self._store_due(pause)
            except BaseException as failure:  # also the panics of delta-rs, which are no Exception
                log.exception("recorder: will try again")
                self._fail(f"{type(failure).__name__}: {failure}")
                stored = False
            pause = 0.0 if stored else min(max(2 * pause, 0.1), SLOWEST_RETRY_S)

    def _store_due(self, pause: float) -> tuple[bool, bool]:
        """Wait, seal the open file when it is due, store what is sealed, in order.

        Returns whether all of it was stored, and whether the thread has nothing more to do.
        """
        with self._changed:
            if pause:
                self._changed.wait(pause)
            else:
                self._changed.wait_for(self._due, timeout=self._file_age_s / 4)
            if self._due():
                self._journal.seal()
            sealed = self._journal.sealed()
            self._take_in(sealed)
            self._tell_vanished(sealed)
            if self._closing and not sealed:
                return True, True
        # An earlier file must not be passed over: transactions only count upwards.
        return all(self._stored(file) for file in sealed), False

    def _take_in(self, sealed: Sequence[JournalFile]) -> None:
        """Count files that are none of this recorder's own: an earlier one's, and mended ones."""
        for file in sealed:
            if file not in self._begun:
                size = self._journal.bytes_of(file)
                self._begun[file], self._sizes[file] = time.monotonic(), size
                self._waiting_bytes += size

    def _forget(self, file: JournalFile) -> int:
        """The file is out of the journal; how many of its rows this recorder has taken."""
        self._begun.pop(file, None)
        self._waiting_bytes -= self._sizes.pop(file, 0)
        return self._queued.pop(file, 0)  # an earlier process counted its own

    def _tell_vanished(self, sealed: Sequence[JournalFile]) -> None:
        """Rows whose file somebody deleted are lost, and hold up no others."""
        for file in self._begun.keys() - {*sealed, self._journal.open_file}:
            rows = self._forget(file)
            told = (
                f"journal: {file.name} was deleted by another program, and {rows} rows of it are"
                " lost. Remedy: leave the folder to the recorder."
            )
            log.error("recorder: %s", told)
            self._metrics = replace(self._metrics, last_error=told)

    def _due(self) -> bool:
        file = self._journal.open_file
        if file is None:
            return self._closing
        old = time.monotonic() - self._begun[file] >= self._file_age_s
        return old or self._closing or self._journal.open_bytes >= self._file_bytes

    def _stored(self, file: JournalFile) -> bool:
        """Whether a sealed file is in the tables by now, and out of the journal."""
        try:
            stored = store_file(self.pipeline, self.warehouse, self._journal, file)
        except (DeltaError, OSError, TenforwardError, pa.ArrowException) as failure:
            log.warning("recorder: %s waits, will try again: %s", file.name, failure)
            self._fail(f"{type(failure).__name__}: {failure}")
            return False
        self._count(file, stored)
        return True

    def _fail(self, error: str) -> None:
        with self._changed:
            self._metrics = replace(self._metrics, last_error=error)

    def _count(self, file: JournalFile, stored: Stored) -> None:
        """The file is out of the journal."""
        with self._changed:
            self._forget(file)
            self._metrics = replace(
                self._metrics,
                written=self._metrics.written + stored.written,
                rejected=self._metrics.rejected + stored.rejected,
                damaged_bytes=self._metrics.damaged_bytes + stored.damaged_bytes,
                last_error=" ".join(stored.told) or None,
            )
            self._changed.notify_all()
