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
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import pyarrow as pa
from deltalake.exceptions import DeltaError

from inference.recording.frame import frame_of
from inference.recording.journal import Journal, JournalFile
from inference.recording.storing import Stored, store
from inference.registered import find_champion
from schemas.errors import ConfigurationError, DataQualityError, TenforwardError
from schemas.log import log
from schemas.pipeline import Pipeline, load_pipeline

SLOWEST_RETRY_S = 60.0


class JournalFullError(TenforwardError):
    """More waits in the journal than it may hold; the rows of this request were not recorded."""


@dataclass(frozen=True)
class Metrics:
    """What the recorder has done since it was opened; rows, but for the last three."""

    recorded: int = 0  # taken into the journal; those of an earlier process do not count
    queued: int = 0  # of these, not stored yet
    written: int = 0  # in forward_records, those of an earlier process included
    rejected: int = 0  # in forward_rejects
    journal_bytes: int = 0  # wait to be stored
    lag_s: float = 0.0  # age of the oldest row that waits
    last_error: str | None = None  # of storing; None once it works again

    def prometheus(self) -> str:
        """The numbers in Prometheus' text format."""
        values = {k: v for k, v in vars(self).items() if k != "last_error"}
        values["failing"] = int(self.last_error is not None)
        return "".join(f"tenforward_recorder_{name} {value}\n" for name, value in values.items())


class ForwardRecorder:
    """Records forward passes; one a process, safe to use from several threads.

    pipeline: the pipeline, or its file. model_version: the champion's where none is given.
    journal: a local folder of this process alone (default: $TENFORWARD_JOURNAL, else ./journal).
    A file there is stored once it has `file_bytes` or is `file_age_s` old. When the journal holds
    `journal_bytes` that storage has not taken, `when_full` decides: "raise" JournalFullError, or
    "block" the request up to `block_s`, then raise. `fsync` makes each request survive the loss of
    power too, at the price of a disk write.
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
        self.warehouse = warehouse or os.environ.get("TENFORWARD_WAREHOUSE", "./warehouse")
        self.model_version = model_version or self._champion()
        folder = Path(journal or os.environ.get("TENFORWARD_JOURNAL", "./journal"))
        self._journal = Journal(folder, fsync=fsync)
        self._file_bytes, self._file_age_s = file_bytes, file_age_s
        self._journal_bytes, self._when_full, self._block_s = journal_bytes, when_full, block_s
        self._metrics, self._recorded = Metrics(), 0
        self._queued: dict[JournalFile, int] = {}
        self._waiting_bytes = self._journal.size()
        # When each waiting file was begun; now, for those of an earlier process.
        self._begun = dict.fromkeys(self._journal.sealed(), time.monotonic())
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._store_all, name="forward-recorder")
        self._thread.daemon = True  # an interpreter that ends leaves the rest in the journal
        self._thread.start()

    def _champion(self) -> str:
        champion = find_champion(self.pipeline.name, self.warehouse)
        if champion is None:
            raise ConfigurationError(
                f"model_version: none given, and {self.pipeline.name} has no champion in the"
                " registry. Remedy: name the version of the model that answers."
            )
        return champion.version

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
    ) -> None:
        """Take n rows into the journal.

        predictions: (n,) logits or values, or (n, classes) logits; kind="probability" for (n,)
        probabilities of a binary model. sketch: (n, at most 16). NumPy arrays, torch tensors or
        sequences. Raises ConfigurationError where the arrays do not fit together,
        JournalFullError where storage is too far behind, OSError where the journal's disk is full;
        then none of the rows is recorded. A row whose values cannot be used goes to
        `forward_rejects` later, with its reason; the others go on.
        """
        # Frames become Arrow later, in the thread that stores them.
        frame = frame_of(
            self.pipeline,
            ids,
            event_times,
            predictions,
            labels=labels,
            segments=segments,
            sketch=sketch,
            model_version=model_version or self.model_version,
            kind=kind,
            recorded_at=time.time_ns() // 1000,
        )
        with self._changed:
            self._append(frame, len(ids))

    def _append(self, frame: bytes, rows: int) -> None:
        self._make_room(len(frame))
        before = self._journal.open_bytes
        self._journal.append(frame)
        self._waiting_bytes += self._journal.open_bytes - before
        file = self._journal.open_file
        if file is not None:
            if before == 0:
                self._begun[file] = time.monotonic()
            self._queued[file] = self._queued.get(file, 0) + rows
        self._recorded += rows
        if self._journal.open_bytes >= self._file_bytes:
            self._changed.notify_all()

    def _make_room(self, size: int) -> None:
        if self._closing:
            raise ConfigurationError("recorder: it is closed. Remedy: record before it ends.")

        def fits() -> bool:
            return self._waiting_bytes + size <= self._journal_bytes

        if not fits() and self._when_full == "block":
            self._changed.notify_all()
            self._changed.wait_for(fits, timeout=self._block_s)
        if not fits():
            raise JournalFullError(
                f"journal: {self._waiting_bytes:,} bytes wait of journal_bytes ="
                f" {self._journal_bytes:,}; the last error of storing them:"
                f" {self._metrics.last_error}. Remedy: mend the storage, or let the journal hold"
                " more."
            )

    def metrics(self) -> Metrics:
        """What has been done, and what waits."""
        with self._changed:
            now = time.monotonic()
            lag = now - min(self._begun.values(), default=now)
            metrics = replace(
                self._metrics,
                recorded=self._recorded,
                queued=sum(self._queued.values()),
                journal_bytes=self._waiting_bytes,
                lag_s=round(lag, 3),
            )
        if not self._thread.is_alive() and not self._closing:
            return replace(metrics, last_error="the thread that stores has ended; see the log")
        return metrics

    def close(self, timeout_s: float = 60.0) -> Metrics:
        """Store what waits, for at most `timeout_s`; the rest stays in the journal for the next.

        Raises nothing for it: nothing is lost, and `journal_bytes` says how much it is.
        """
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
        """The thread: seals the open file when it is due, stores what is sealed, in order."""
        pause = 0.0  # after a failure
        while True:
            with self._changed:
                if pause:
                    self._changed.wait(pause)
                else:
                    self._changed.wait_for(self._due, timeout=self._file_age_s / 4)
                if self._due():
                    self._journal.seal()
                sealed = self._journal.sealed()
                if self._closing and not sealed:
                    return
            # An earlier file must not be passed over: transactions only count upwards.
            stored = all(self._stored(file) for file in sealed)
            pause = 0.0 if stored else min(max(2 * pause, 0.1), SLOWEST_RETRY_S)

    def _due(self) -> bool:
        file = self._journal.open_file
        if file is None:
            return self._closing
        old = time.monotonic() - self._begun[file] >= self._file_age_s
        return old or self._closing or self._journal.open_bytes >= self._file_bytes

    def _stored(self, file: JournalFile) -> bool:
        """Whether a sealed file is in the tables by now, and out of the journal."""
        size, stored, error = self._journal.bytes_of(file), Stored(0, 0), None
        try:
            stored = store(self.pipeline, self.warehouse, file, self._journal.payloads(file))
        except DataQualityError as damage:
            self._journal.set_aside(file, damage)
            error = str(damage)
        except (DeltaError, OSError, pa.ArrowException) as failure:
            log.warning("recorder: %d bytes wait, will try again: %s", size, failure)
            with self._changed:
                error = f"{type(failure).__name__}: {failure}"
                self._metrics = replace(self._metrics, last_error=error)
            return False
        else:
            self._journal.remove(file)
        with self._changed:
            self._waiting_bytes -= size
            del self._begun[file]
            self._queued.pop(file, None)  # an earlier process counted its own
            self._metrics = replace(
                self._metrics,
                written=self._metrics.written + stored.written,
                rejected=self._metrics.rejected + stored.rejected,
                last_error=error,
            )
            self._changed.notify_all()
        return True
