"""The champion as a server holds it: loaded, and replaced when another is promoted.

A thread asks the registry now and then. What serves is one object that is exchanged as a whole: a
request takes it once, so that the version that it names is the one that has answered.
"""

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.encoding import Encoded, encode_features, encoded_features
from inference.recording.metrics import COUNTER, GAUGE, prometheus
from inference.registered import find_champion, serving_version
from inference.scorer import Scorer, load_scorer
from schemas.errors import ConfigurationError
from schemas.faults import fault_of
from schemas.layout import located
from schemas.log import log, without_passwords
from schemas.pipeline import Pipeline, load_pipeline

TOLD = {
    "version": (GAUGE, "The version that serves."),
    "reloads": (COUNTER, "How often another version has taken its place."),
    "age_s": (GAUGE, "Seconds since the registry was last asked with success."),
    "failing": (GAUGE, "1 while the last look for another champion failed, else 0."),
}


class Answer(NamedTuple):
    """What one version answered for n instances."""

    prediction: NDArray[np.float64]
    """float64: logit or value (n,), or logits (n, classes) of a multiclass model."""
    sketch: NDArray[np.float32]
    """float32 (n, width)."""
    model_version: str
    """The version that answered: that of the record."""


@dataclass(frozen=True)
class Serving:
    """A loaded version, which never changes."""

    version: str
    scorer: Scorer
    features: Mapping[str, Encoded]

    def answer(self, values: Mapping[str, Any]) -> Answer:
        """Encode and score n instances; values: as `encode` takes them, and raises what it does."""
        columns = encode_features(self.features, values)
        return Answer(*self.scorer.score(columns), self.version)


@dataclass(frozen=True)
class ChampionMetrics:
    """How the looks at the registry went."""

    version: str  # that serves
    reloads: int = 0
    age_s: float = 0.0  # since the last look that succeeded
    last_error: str | None = None  # of looking; None once it works again

    def prometheus(self) -> str:
        """The numbers in Prometheus' text format."""
        values = vars(self) | {"failing": int(self.last_error is not None)}
        return prometheus("tenforward_champion", TOLD, values)


class LiveChampion:
    """The champion of a pipeline, replaced when another serves; one a process, for many threads.

    pipeline: or its file. every_s: how often a thread asks the registry; 0 for no thread, where
    `look` is called by the server itself. Another version is loaded, tried on a row and only then
    takes the place of the one before; where that fails, or the registry does, what is loaded goes
    on serving, and log and metrics say why. A process that was forked from this one opens its own.

    Raises ConfigurationError where no version serves, and what finding and loading it raises.
    """

    def __init__(
        self,
        pipeline: Pipeline | str | Path,
        *,
        warehouse: str | None = None,
        every_s: float = 30.0,
    ) -> None:
        self.pipeline = pipeline if isinstance(pipeline, Pipeline) else load_pipeline(pipeline)
        place = warehouse or os.environ.get("TENFORWARD_WAREHOUSE", "./warehouse")
        self.warehouse = located(place, self.pipeline.name)
        self._process = os.getpid()
        self._serving = self._load()
        self._looked, self._succeeded = ChampionMetrics(self._serving.version), time.monotonic()
        self._one_at_a_time, self._closing = threading.Lock(), threading.Event()
        self._thread = threading.Thread(
            target=self._watch, args=(every_s,), name="live-champion", daemon=True
        )
        if every_s > 0:
            self._thread.start()

    def now(self) -> Serving:
        """The version that serves now. A request takes it once and asks nothing else."""
        if os.getpid() != self._process:
            raise ConfigurationError(
                f"champion: opened by process {self._process}, used by its fork {os.getpid()},"
                " where it would never be replaced. Remedy: open it after the fork (gunicorn: in"
                " post_fork, or without preload)."
            )
        return self._serving

    def answer(self, values: Mapping[str, Any]) -> Answer:
        """What the version that serves now answers for n instances, and which one that was."""
        return self.now().answer(values)

    def look(self) -> bool:
        """Ask the registry once; whether another version serves from now on. Raises nothing for a
        registry or a version that fails: `metrics` says so."""
        with self._one_at_a_time:
            try:
                replaced = self._replaced()
            except Exception as error:  # noqa: BLE001, told; what is loaded serves on
                self._tell(error)
                return False
            self._looked = replace(self._looked, last_error=None)
            self._succeeded = time.monotonic()
            return replaced

    def metrics(self) -> ChampionMetrics:
        """Which version serves, how often it was replaced, and whether looking works."""
        age = time.monotonic() - self._succeeded
        return replace(self._looked, version=self._serving.version, age_s=round(age, 3))

    def close(self) -> None:
        """Look no more. What is loaded goes on answering."""
        self._closing.set()
        if self._thread.is_alive() and self._process == os.getpid():
            self._thread.join(5.0)

    def __enter__(self) -> "LiveChampion":
        """The champion."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def _watch(self, every_s: float) -> None:
        while not self._closing.wait(every_s):
            self.look()

    def _replaced(self) -> bool:
        serves = serving_version(self.pipeline.name, self.warehouse)
        if serves == self._serving.version:
            return False
        before, self._serving = self._serving, self._load()
        self._looked = replace(self._looked, reloads=self._looked.reloads + 1)
        log.info("champion: version %s after version %s", self._serving.version, before.version)
        return True

    def _load(self) -> Serving:
        """The version that serves in the registry, tried on a row."""
        # A bundle of a remote registry is on this disk while it is loaded, and no longer; in a new
        # folder, as what cleans /tmp takes an old one away from a server that lives long.
        with TemporaryDirectory(prefix="tenforward-champion-") as into:
            champion = find_champion(self.pipeline.name, self.warehouse, Path(into))
            if champion is None:
                raise ConfigurationError(
                    f"model {self.pipeline.name}: no champion in the registry. Remedy: run"
                    " `tenforward train`."
                )
            scorer = load_scorer(champion.folder)
        features = encoded_features(self.pipeline, scorer.card)
        serving = Serving(champion.version, scorer, features)
        serving.answer({name: [None] for name in features})
        return serving

    def _tell(self, error: Exception) -> None:
        """A failing look, in the metrics, and once in the log: with its trace where it is new to
        us."""
        known = fault_of(error)
        told = without_passwords(str(known or f"{type(error).__name__}: {error}"))
        if told != self._looked.last_error:
            line = "champion: version %s goes on serving, the look for another failed: %s"
            log.error(line, self._serving.version, told, exc_info=None if known else error)
        self._looked = replace(self._looked, last_error=told)
