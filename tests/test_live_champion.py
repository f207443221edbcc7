"""The champion in a server's process: replaced when another serves, kept while anything fails."""

import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.champion import Answer, LiveChampion
from inference.encoding import encode
from inference.scorer import load_scorer
from schemas.bundle import CARD, PROGRAM
from schemas.errors import ConfigurationError
from tests.helpers.trainer_tables import small_pipeline
from tests.helpers.two_versions import RAW, promote, registry_of, two_bundles

PIPELINE = small_pipeline()


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_bundles(tmp_path_factory.mktemp("bundles"), PIPELINE)


@pytest.fixture(scope="module")
def answers(bundles: Path) -> dict[str, np.ndarray]:
    """What each version answers for RAW."""
    columns = encode(PIPELINE, RAW)
    found = {v: load_scorer(bundles / v).score(columns).prediction for v in ("1", "2")}
    assert not np.isclose(found["1"], found["2"]).any()
    return found


@pytest.fixture
def root(bundles: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse whose version 1 serves."""
    return registry_of(bundles, tmp_path / "warehouse", tmp_path_factory.getbasetemp())


@pytest.fixture
def champion(root: Path) -> Iterator[LiveChampion]:
    """Of that warehouse; it looks when it is told to."""
    with LiveChampion(PIPELINE, warehouse=str(root), every_s=0) as opened:
        yield opened


def test_another_champion_takes_its_place_and_a_rollback_does_too(
    root: Path, champion: LiveChampion, answers: dict[str, np.ndarray]
) -> None:
    for place, version in enumerate(["1", "2", "1"]):
        promote(root, int(version))
        assert champion.look() == (place > 0)
        assert not champion.look()
        answer = champion.answer(RAW)
        assert answer.model_version == version == champion.now().version
        np.testing.assert_array_equal(answer.prediction, answers[version])
        assert answer.sketch.shape == (64, 8)
        assert champion.metrics().reloads == place


def test_what_was_taken_before_goes_on_answering_after(
    root: Path, champion: LiveChampion, answers: dict[str, np.ndarray]
) -> None:
    before = champion.now()
    promote(root, 2)
    assert champion.look()
    assert before.answer(RAW).model_version == "1"
    np.testing.assert_array_equal(before.answer(RAW).prediction, answers["1"])


def test_the_thread_looks_by_itself_and_no_longer_than_until_it_is_closed(root: Path) -> None:
    with LiveChampion(PIPELINE, warehouse=str(root), every_s=0.05) as champion:
        promote(root, 2)
        deadline = time.monotonic() + 60
        while champion.now().version == "1" and time.monotonic() < deadline:
            time.sleep(0.02)
        assert champion.now().version == "2"
    promote(root, 1)
    time.sleep(0.3)
    assert champion.answer(RAW).model_version == "2"


def test_every_answer_is_whole_while_champions_change(
    root: Path, champion: LiveChampion, answers: dict[str, np.ndarray]
) -> None:
    stop, found, failed = threading.Event(), list[Answer](), list[Exception]()

    def ask() -> None:
        try:
            while not stop.is_set():
                found.append(champion.answer(RAW))
        except Exception as error:  # noqa: BLE001, told below
            failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for version in islice(cycle([2, 1]), 6):
        promote(root, version)
        assert champion.look()
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert {answer.model_version for answer in found} == {"1", "2"}
    for answer in found:
        np.testing.assert_array_equal(answer.prediction, answers[answer.model_version])


def broken(root: Path, how: str) -> Path:
    """Spoil version 2, or the registry; what was spoilt."""
    bundle = root / "mlartifacts" / "2"
    if how in ("gone", "garbage"):
        file = root / "mlflow.db"
        file.unlink() if how == "gone" else file.write_bytes(b"no database" * 1000)
        return file
    file = bundle / (CARD if how == "other features" else PROGRAM)
    if how == "program missing":
        file.unlink()
    elif how == "other features":
        file.write_text(file.read_text().replace('"price"', '"weight"'))
    else:
        file.write_bytes(b"cbuiltins\nexec\n")  # the beginning of a pickle
    return file


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("gone", "no version bears the alias 'champion' any more.*Remedy"),
        ("garbage", "not a database"),
        ("program missing", r"small version 2: program\.pt2 not found"),
        ("other features", r"features\.weight: the model of refresh none takes a number.*Remedy"),
        ("refused", r"program\.pt2: refused, it is not an archive"),
    ],
)
def test_what_fails_leaves_the_loaded_one_serving_and_is_told(
    root: Path,
    champion: LiveChampion,
    how: str,
    told: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(champion, "_succeeded", champion._succeeded - 100)
    promote(root, 2)
    kept = Path(shutil.copytree(root, root.with_name("kept")))
    spoilt = broken(root, how)
    for _ in range(3):
        assert not champion.look()
    now = champion.metrics()
    assert champion.answer(RAW).model_version == now.version == "1"
    assert now.last_error is not None
    assert re.search(told, now.last_error), now.last_error
    assert (now.reloads, now.age_s > 100) == (0, True)
    assert "tenforward_champion_failing 1\n" in now.prometheus()
    lines = [line for line in caplog.messages if "goes on serving" in line]
    assert len(lines) == 1  # not one a look
    shutil.copy(kept / spoilt.relative_to(root), spoilt)
    assert champion.look()
    assert champion.metrics().last_error is None
    assert champion.answer(RAW).model_version == "2"


@pytest.mark.parametrize("remote", [False, True])
def test_loading_leaves_nothing_on_the_disk(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remote: bool
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    if remote:  # then every bundle is a copy
        monkeypatch.setattr("schemas.registry._is_local", lambda _: False)
    with LiveChampion(PIPELINE, warehouse=str(root), every_s=0) as champion:
        promote(root, 2)
        assert champion.look()
        assert list((tmp_path / "temporary").iterdir()) == []
        shutil.rmtree(root / "mlartifacts")  # what is loaded needs no file any more
        assert champion.answer(RAW).model_version == "2"


def test_a_cleaner_of_tmp_does_not_end_promotions(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr("schemas.registry._is_local", lambda _: False)
    with LiveChampion(PIPELINE, warehouse=str(root), every_s=0) as champion:
        for old in (tmp_path / "temporary").iterdir():  # as systemd-tmpfiles after ten days
            shutil.rmtree(old)
        promote(root, 2)
        assert champion.look()
        assert champion.metrics().last_error is None
        assert champion.answer(RAW).model_version == "2"


def test_without_a_champion_there_is_none_to_open(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no champion in the registry\. Remedy"):
        LiveChampion(PIPELINE, warehouse=str(tmp_path))


def test_a_fork_is_told_to_open_its_own(
    champion: LiveChampion, monkeypatch: pytest.MonkeyPatch
) -> None:
    other: Any = os.getpid() + 1
    monkeypatch.setattr(os, "getpid", lambda: other)
    with pytest.raises(ConfigurationError, match="open it after the fork"):
        champion.answer(RAW)
