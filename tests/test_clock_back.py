"""A clock that goes back: what is stored, counted and locked does not depend on it."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import schemas.command
from inference import recorder as recorder_module
from reference.plain_tables import record_tables, stored
from schemas.command import require_over
from schemas.errors import ConfigurationError
from schemas.manifests import read_manifests
from tests.helpers.recording import ASKED, KEYS, opened
from tests.helpers.trainer_tables import random_rows, small_pipeline, write_refresh
from trainer import train as train_module
from trainer.data.refresh import newest_refresh
from trainer.train import train_refresh


class Clock:
    """Stands in for the module `time` where a clock may go back; durations go on as ever."""

    monotonic = staticmethod(time.monotonic)

    def __init__(self, moments: Iterator[float]) -> None:
        self.moments = moments

    def time(self) -> float:
        return next(self.moments)

    def time_ns(self) -> int:
        return int(next(self.moments) * 1e9)


@pytest.mark.parametrize(
    ("steps_s", "rejected"),
    [([3600, 3540, 60, 0], 0), ([3600, -7200, 3601], 1)],
    ids=["later than the event", "hours before the event"],
)
def test_law_2_every_row_is_stored_once_or_rejected_with_its_reason(
    tmp_path: Path, monkeypatch, steps_s: list[float], rejected: int
) -> None:
    root = record_tables(tmp_path)
    moments = iter(ASKED.timestamp() + step for step in steps_s)
    monkeypatch.setattr(recorder_module, "time", Clock(moments))
    with opened(root, file_bytes=200) as recorder:
        for number in range(len(steps_s)):
            ids = [f"{number}-a", f"{number}-b"]
            recorder.record(ids, [ASKED] * 2, [0.0, 1.0], segments=KEYS)
    names = [row["instance_id"] for row in stored(root)]
    refused = stored(root, "forward_rejects")
    assert len(names) == len(set(names)) == 2 * (len(steps_s) - rejected)
    assert {row["reason"] for row in refused} == ({"future-event"} if rejected else set())
    assert len(refused) == 2 * rejected


def test_a_training_across_a_clock_that_goes_back_ends_and_tells_a_sound_time(
    tmp_path: Path, monkeypatch
) -> None:
    pipeline = small_pipeline()
    write_refresh(tmp_path, pipeline, "first", random_rows(300, seed=1))
    now = time.time()
    monkeypatch.setattr(train_module, "time", Clock(iter([now, now - 7200, now - 7200])))
    result = train_refresh(pipeline, str(tmp_path), "first")
    assert result["status"] == "done"
    assert 0 < result["seconds"] < 600
    assert train_refresh(pipeline, str(tmp_path), "first")["status"] == "already done"


def test_of_two_draws_of_one_day_the_one_that_was_written_later_is_the_newest(
    tmp_path: Path,
) -> None:
    pipeline = small_pipeline()
    now = datetime(2013, 2, 2, 12, tzinfo=UTC)
    for name, moment in [("before", now), ("after", now - timedelta(hours=2))]:
        write_refresh(tmp_path, pipeline, name, random_rows(50, seed=1), created_at=moment)
    assert newest_refresh(str(tmp_path), pipeline) == "after"
    named = [one.refresh_id for one in read_manifests(f"{tmp_path}/refreshes")]
    assert named == ["after", "before"]


def test_law_7_a_day_that_the_clock_says_is_not_over_is_refused_with_its_remedy(
    monkeypatch,
) -> None:
    class Back(datetime):
        """Yesterday's noon."""

        @classmethod
        def now(cls, tz=None):
            return datetime(2026, 2, 1, 12, tzinfo=UTC)

    monkeypatch.setattr(schemas.command, "datetime", Back)
    require_over(datetime(2026, 1, 31, tzinfo=UTC).date())
    with pytest.raises(ConfigurationError, match=r"not over\. Remedy: give an earlier day"):
        require_over((datetime(2026, 1, 31, tzinfo=UTC) + timedelta(days=1)).date())
