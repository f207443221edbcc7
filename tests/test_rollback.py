"""An earlier version serves again, by one command that is safe to repeat."""

import json
import shutil
from pathlib import Path

import pytest

from inference.registered import find_champion
from schemas.bundle import PROGRAM
from schemas.command import run_command
from schemas.errors import ConfigurationError, NoDataError
from tests.helpers.trainer_tables import empty_database, random_rows, small_pipeline, write_refresh
from trainer.promotion.all_traffic import serve_if_passed
from trainer.promotion.gate import Verdict
from trainer.promotion.registry import Registry, open_registry
from trainer.rollback import rollback
from trainer.train import train_refresh

PIPELINE = small_pipeline(gate={"max_loss_increase": 10.0}, training={"epochs": 1})


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three versions, each promoted."""
    return promoted(tmp_path_factory.mktemp("served"), tmp_path_factory, 3)


def promoted(root: Path, factory: pytest.TempPathFactory, versions: int) -> Path:
    """A warehouse with versions 1, 2, ..., each promoted."""
    shutil.copy(empty_database(factory.getbasetemp()), root / "mlflow.db")
    for day in range(1, versions + 1):
        rows = random_rows(200, seed=day)
        write_refresh(root, PIPELINE, f"day-{day}", rows, day=day)
        assert train_refresh(PIPELINE, str(root), f"day-{day}")["promoted"]
    return root


def serving(root: Path) -> str | None:
    champion = find_champion("small", str(root))
    return champion and champion.version


def test_a_step_back_is_made_once_however_often_it_is_asked_for(served: Path) -> None:
    root = str(served)
    planned = rollback("small", "small", root, dry_run=True)
    assert (planned["status"], planned["version"], serving(served)) == ("planned", "2", "3")
    first = rollback("small", "small", root)
    assert (first["status"], first["version"], first["before"]) == ("done", "2", "3")
    again = rollback("small", "small", root)
    assert (again["status"], again["version"], serving(served)) == ("already done", "2", "2")
    assert rollback("small", "small", root, to="1")["refresh_id"] == "day-1"
    assert serving(served) == "1"
    assert rollback("small", "small", root, to="3")["status"] == "done"
    assert serving(served) == "3"


@pytest.fixture
def two(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions, each promoted."""
    return promoted(tmp_path, tmp_path_factory, 2)


def again(root: Path) -> None:
    """One version more, promoted."""
    assert train_refresh(PIPELINE, str(root), "day-1", force=True)["promoted"]


def registry_of(root: Path) -> Registry:
    return open_registry(str(root), "small", "small")


def rolled_back(root: Path) -> list[str]:
    return sorted(str(v.version) for v in registry_of(root).versions() if "rolled_back" in v.tags)


def test_a_step_back_never_leads_to_a_version_that_was_rolled_back_from(
    two: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = str(two)
    again(two)
    assert rollback("small", "small", root)["version"] == "2"
    again(two)
    assert (serving(two), rolled_back(two)) == ("4", ["3"])
    assert rollback("small", "small", root)["version"] == "2"
    assert (serving(two), rolled_back(two)) == ("2", ["3", "4"])
    assert rollback("small", "small", root)["status"] == "already done"
    assert rolled_back(two) == ["3", "4"]
    assert rollback("small", "small", root, to="1")["status"] == "done"
    assert rolled_back(two) == ["2", "3", "4"]
    assert "itself rolled back" not in caplog.text
    assert rollback("small", "small", root, to="3")["status"] == "done"
    assert "version 3 was itself rolled back from" in caplog.text
    assert rolled_back(two) == ["2", "3", "4"]  # forwards: nothing is said against version 1


def test_versions_that_a_step_back_has_jumped_over_are_not_gone_back_to(two: Path) -> None:
    again(two)
    assert rollback("small", "small", str(two), to="1")["status"] == "done"
    assert rolled_back(two) == ["2", "3"]
    again(two)
    assert serving(two) == "4"
    assert rollback("small", "small", str(two))["version"] == "1"


def test_an_older_version_that_was_promoted_over_a_newer_one_gives_way_to_that_one(
    two: Path,
) -> None:
    """As `register --version 2` promotes it while 3 serves."""
    again(two)
    registry = registry_of(two)
    serve_if_passed(registry, registry.version("2", "--version"), Verdict(True, "passed"))
    assert serving(two) == "2"
    first = rollback("small", "small", str(two))
    assert (first["status"], first["version"], first["before"]) == ("done", "3", "2")
    assert (serving(two), rolled_back(two)) == ("3", ["2"])
    assert rollback("small", "small", str(two))["status"] == "already done"
    assert serving(two) == "3"
    again(two)
    assert rollback("small", "small", str(two))["version"] == "3"


def test_a_version_over_which_an_older_one_was_promoted_is_not_gone_back_to(two: Path) -> None:
    again(two)
    registry = registry_of(two)
    serve_if_passed(registry, registry.version("2", "--version"), Verdict(True, "passed"))
    again(two)
    assert serving(two) == "4"
    assert rollback("small", "small", str(two))["version"] == "2"


def test_a_version_that_was_promoted_again_is_gone_back_to(two: Path) -> None:
    again(two)
    registry = registry_of(two)
    for number in ("2", "3"):  # 2 over 3, then 3 in its turn
        serve_if_passed(registry, registry.version(number, "--version"), Verdict(True, "passed"))
    again(two)
    assert rollback("small", "small", str(two))["version"] == "3"


def test_with_every_earlier_version_rolled_back_there_is_nothing_to_go_back_to(two: Path) -> None:
    registry = registry_of(two)
    registry.client.set_model_version_tag("small", "1", "rolled_back", "true")
    with pytest.raises(NoDataError, match=r"each was itself rolled back from.*--to"):
        rollback("small", "small", str(two))
    assert (serving(two), rolled_back(two)) == ("2", ["1"])


def test_a_roll_back_that_was_cut_short_is_finished_by_the_next_one(
    two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mlflow.MlflowClient.set_registered_model_alias", killed)
        with pytest.raises(KeyboardInterrupt):
            rollback("small", "small", str(two))
    assert (serving(two), rolled_back(two)) == ("2", ["2"])
    assert rollback("small", "small", str(two))["status"] == "done"
    assert (serving(two), rolled_back(two)) == ("1", ["2"])


def test_a_version_that_served_without_being_promoted_is_rolled_back_from_once(two: Path) -> None:
    registry = registry_of(two)
    again(two)
    registry.client.delete_model_version_tag("small", "3", "promoted")  # the training was killed
    assert serving(two) == "3"
    assert rollback("small", "small", str(two))["version"] == "2"
    assert rollback("small", "small", str(two))["status"] == "already done"
    train_refresh(PIPELINE, str(two), "day-1")  # finishes promotions that were cut short
    assert serving(two) == "2"


def test_a_version_that_is_not_there_or_not_whole_is_refused(served: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"--to 9: .* choose one of 1, 2, 3"):
        rollback("small", "small", str(served), to="9")
    rollback("small", "small", str(served), to="1")
    champion = find_champion("small", str(served))
    rollback("small", "small", str(served), to="3")
    assert champion is not None
    program = (champion.folder / PROGRAM).read_bytes()
    (champion.folder / PROGRAM).unlink()
    with pytest.raises(ConfigurationError, match=r"program\.pt2 not found"):
        rollback("small", "small", str(served), to="1")
    (champion.folder / PROGRAM).write_bytes(program)
    assert serving(served) == "3"


def test_without_an_earlier_champion_there_is_nothing_to_go_back_to(tmp_path: Path) -> None:
    with pytest.raises(NoDataError, match="nothing was ever registered"):
        rollback("small", "small", str(tmp_path))


def test_its_log_lines_say_which_model_version_and_refresh_they_are_about(
    served: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def last_line(root: Path) -> dict[str, str]:
        run_command(lambda argv: rollback("small", "small", str(root), to="1", dry_run=True), [])
        line: dict[str, str] = json.loads(capfd.readouterr().err.splitlines()[-1])
        return line

    line = last_line(served)
    assert (line["pipeline"], line["model"]) == ("small", "small")
    assert (line["version"], line["refresh_id"]) == ("1", "day-1")
    failed = last_line(tmp_path)
    assert "nothing was ever registered" in failed["message"]
    assert (failed["pipeline"], failed["model"]) == ("small", "small")
