"""A warehouse that was copied or moved is whole where it is, and touches nothing where it was."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from inference.registered import find_champion
from inference.scorer import load_scorer
from schemas.embedded import bring_along
from schemas.errors import ConfigurationError
from tests.helpers.trainer_tables import empty_database, random_rows, small_pipeline, write_refresh
from trainer.train import train_refresh

PIPELINE = small_pipeline()
ROWS = random_rows(200, seed=3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with a champion, and a refresh to train on."""
    warehouse = tmp_path_factory.mktemp("trained") / "warehouse"
    warehouse.mkdir()
    shutil.copy(empty_database(tmp_path_factory.getbasetemp()), warehouse / "mlflow.db")
    for day, name in enumerate(("first", "second"), 1):
        write_refresh(warehouse, PIPELINE, name, random_rows(300, seed=day), day=day)
    train_refresh(PIPELINE, str(warehouse), "first")
    return warehouse


def files(warehouse: Path) -> set[Path]:
    return {path.relative_to(warehouse) for path in (warehouse / "mlartifacts").rglob("*")}


def test_a_copy_trains_into_its_own_folder_and_leaves_the_original_alone(
    trained: Path, tmp_path: Path
) -> None:
    copy, before = tmp_path / "a copy", files(trained)
    shutil.copytree(trained, copy)
    told = (trained / "mlflow.db").read_bytes()
    result = train_refresh(PIPELINE, str(copy), "second")
    assert files(trained) == before
    assert (trained / "mlflow.db").read_bytes() == told
    assert files(copy) > before
    assert result["version"] == "2"


def test_a_moved_warehouse_still_has_its_champion(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "before")
    (tmp_path / "before").rename(tmp_path / "after")
    for _ in range(2):
        champion = find_champion("small", str(tmp_path / "after"))
        assert champion is not None
        assert champion.folder.is_relative_to(tmp_path / "after" / "mlartifacts")
        assert len(load_scorer(champion.folder).score(ROWS).prediction) == 200


def test_a_copy_that_cannot_be_written_names_the_remedy(trained: Path, tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    shutil.copy(trained / "mlflow.db", database)
    read_only = f"file:{database}?mode=ro"
    connect = sqlite3.connect

    def opened(_: object, **settings: object) -> sqlite3.Connection:
        return connect(read_only, uri=True)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sqlite3, "connect", opened)
        with pytest.raises(ConfigurationError, match="Remedy: run `tenforward status` there once"):
            bring_along(database, (tmp_path / "mlartifacts").as_uri())
