"""A registry of two versions of a small model, made by hand: no training, no Spark."""

import shutil
from pathlib import Path

from schemas.pipeline import Pipeline
from schemas.registry import CHAMPION, mlflow_client
from tests.helpers.trainer_tables import empty_database, random_rows, small_card
from trainer.models.export import save_bundle
from trainer.models.model import build_model

# Values as the tables hold them, for the features of `small_pipeline`.
RAW = {
    "shop": ["Oslo", None, "", "Zürich"] * 16,
    "price": [None, *map(float, random_rows(63, seed=4)["price"])],
    "slot": [None, *map(int, random_rows(63, seed=4)["slot"])],
    "age": [float(i) for i in range(64)],
}


def two_bundles(folder: Path, pipeline: Pipeline) -> Path:
    """Bundles `1` and `2`, which answer otherwise."""
    card = small_card(pipeline)
    for seed in (1, 2):
        (folder / str(seed)).mkdir()
        save_bundle(build_model(card, seed=seed), card, folder / str(seed))
    return folder


def registry_of(bundles: Path, root: Path, run: Path, name: str = "small") -> Path:
    """The warehouse `root` with a registry of copies of the bundles, of which version 1 serves.

    run: the run's own temporary folder, where the empty database is kept.
    """
    root.mkdir(exist_ok=True)
    shutil.copy(empty_database(run), root / "mlflow.db")
    shutil.copytree(bundles, root / "mlartifacts")
    client = mlflow_client(str(root))
    client.create_registered_model(name)
    for number in ("1", "2"):
        client.create_model_version(name, source=(root / "mlartifacts" / number).as_uri())
    promote(root, 1, name)
    return root


def promote(root: Path, version: int, name: str = "small") -> None:
    """Let a version serve."""
    mlflow_client(str(root)).set_registered_model_alias(name, CHAMPION, str(version))
