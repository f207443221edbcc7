"""Law 8: the meter counts backward passes as they are made, whatever becomes of a training."""

import fcntl
import logging
import os
import signal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable as Snapshot

from schemas.counted import Account
from schemas.ledger import beside, read_spent
from tests.helpers.clean_processes import clean_processes
from trainer.fitting import meter as metering
from trainer.fitting.meter import metered, note, publish_left


def account(purpose: Any = "training") -> Account:
    return Account.new("r", "2013-02-01", purpose)


def counted(root: Path) -> int:
    """Backward passes of trainings, as `status` reads them."""
    return read_spent(str(root)).get("r", {}).get("training", 0)


def published(root: Path) -> int:
    """Backward passes in the table alone."""
    files = Snapshot(str(root / "backward_passes")).file_uris()
    return int(sum(pq.read_table(file)["backward_passes"].to_numpy().sum() for file in files))


def test_a_meter_is_published_when_it_opens_when_it_is_told_to_and_when_it_closes(tmp_path):
    with metered(str(tmp_path), account()) as meter:
        assert read_spent(str(tmp_path)) == {"r": {"training": 0}}
        for rows in (64, 64, 10):
            meter.add(rows)
        assert (meter.total, published(tmp_path)) == (138, 0)
        meter.publish()
        meter.publish()  # again: nothing has come since
        assert published(tmp_path) == 138
        meter.add(5)
    assert published(tmp_path) == 143
    assert list((tmp_path / "spent").iterdir()) == []


def test_a_training_that_fails_has_cost_what_it_cost(tmp_path):
    def fails() -> None:
        with metered(str(tmp_path), account()) as meter:
            meter.add(7)
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert published(tmp_path) == 7
    assert list((tmp_path / "spent").iterdir()) == []


def killed(root: str, published: int, after: int) -> None:
    """Count, publish, count on, and die."""
    with metered(root, account()) as meter:
        meter.add(published)
        meter.publish()
        meter.add(after)
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_training_left_is_published_once_by_the_next(tmp_path):
    process = clean_processes().Process(target=killed, args=(str(tmp_path), 100, 23))
    process.start()
    process.join()
    assert (published(tmp_path), counted(tmp_path)) == (100, 123)  # and is read before that
    with metered(str(tmp_path), account()) as meter:
        assert published(tmp_path) == 123
        meter.add(10)
    publish_left(str(tmp_path))
    assert published(tmp_path) == counted(tmp_path) == 133


def test_killed_between_the_commit_and_its_end_it_is_published_once(tmp_path, monkeypatch):
    """The file stays, the table knows up to where it counted."""
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    with metered(str(tmp_path), account()) as meter:
        meter.add(9)
    monkeypatch.undo()
    assert len(list((tmp_path / "spent").iterdir())) == 1
    assert counted(tmp_path) == 9
    publish_left(str(tmp_path))
    assert published(tmp_path) == counted(tmp_path) == 9


def test_a_training_that_goes_on_is_left_alone(tmp_path):
    with metered(str(tmp_path), account()) as first:
        first.add(4)
        with metered(str(tmp_path), account()) as second:
            second.add(3)
        assert (published(tmp_path), counted(tmp_path)) == (3, 7)
    assert published(tmp_path) == 7


def test_a_count_is_not_swept_away_before_its_training_holds_it(tmp_path, monkeypatch):
    real = fcntl.flock

    def swept_before(handle: Any, how: int) -> None:
        if how == fcntl.LOCK_EX:
            publish_left(str(tmp_path))
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", swept_before)
    with metered(str(tmp_path), account()) as meter:
        meter.add(4)
        assert counted(tmp_path) == 4
    assert published(tmp_path) == 4


def test_a_table_that_is_away_refuses_a_training_before_its_first_step(tmp_path, monkeypatch):
    monkeypatch.setattr(metering, "write_deltalake", away)
    with pytest.raises(OSError, match="away"), metered(str(tmp_path), account()):
        raise AssertionError("a step was made")


def test_a_table_that_is_away_later_costs_no_training_and_no_count(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(logging.getLogger("tenforward"), "propagate", True)
    with metered(str(tmp_path), account()) as meter:
        meter.add(6)
        monkeypatch.setattr(metering, "write_deltalake", away)
        meter.publish()
    assert "6 backward passes of r are not written down yet" in caplog.text
    assert (published(tmp_path), counted(tmp_path)) == (0, 6)
    monkeypatch.undo()
    publish_left(str(tmp_path))
    assert published(tmp_path) == 6


def test_what_ended_a_training_is_told_though_the_table_is_away(tmp_path, monkeypatch):
    def fails() -> None:
        with metered(str(tmp_path), account()):
            monkeypatch.setattr(metering, "write_deltalake", away)
            raise KeyError("the reason")

    with pytest.raises(KeyError, match="the reason"):
        fails()


def away(*_: Any, **__: Any) -> None:
    raise OSError("the storage is away")


@pytest.mark.parametrize("content", [b"", b"\0" * 200, b"\0" * 8 + b'{"refresh_id": "r"}'])
def test_a_file_that_is_no_count_is_left_aside(tmp_path, content):
    (tmp_path / "spent").mkdir()
    (tmp_path / "spent" / "x").write_bytes(content)
    with metered(str(tmp_path), account()) as meter:
        meter.add(2)
    assert counted(tmp_path) == 2


@pytest.mark.slow
def test_trainings_that_make_the_table_together_all_count(tmp_path):
    processes = clean_processes()
    together = processes.Barrier(4)
    made = [processes.Process(target=begin, args=(str(tmp_path), together)) for _ in range(4)]
    for process in made:
        process.start()
    for process in made:
        process.join()
    assert [process.exitcode for process in made] == [0] * 4
    assert published(tmp_path) == 4 * 5 * 10


def begin(root: str, together: Any) -> None:
    together.wait()
    with metered(root, account()) as meter:
        for _ in range(5):
            meter.add(10)
            meter.publish()


def test_a_commit_of_another_in_between_is_no_loss(tmp_path, monkeypatch):
    with metered(str(tmp_path), account()) as meter:
        meter.add(5)
        stale = Snapshot(str(tmp_path / "backward_passes"))
        note(str(tmp_path), account("study"), 1)
        monkeypatch.setattr(metering, "_table", lambda _: stale)
        meter.publish()
        monkeypatch.undo()
    assert counted(tmp_path) == 5


def test_twins_and_studies_stand_on_lines_of_their_own(tmp_path):
    with metered(str(tmp_path), account()) as meter:
        meter.add(100)
    note(str(tmp_path), account("twin"), 30)
    note(str(tmp_path), account("study"), 20)
    note(str(tmp_path), account("twin"), 3)
    spent = read_spent(str(tmp_path))
    assert spent["r"] == {"training": 100, "twin": 33, "study": 20}
    assert beside(spent) == {"bootstrap": 0, "twin": 33, "study": 20}
