"""The bundle: what is scored is what was trained, and the champion is found."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from inference.registered import find_champion, find_version
from inference.scorer import Scorer, load_scorer
from schemas.bundle import PROGRAM
from schemas.errors import ConfigurationError, DataQualityError
from schemas.registry import tracking_uri
from tests.helpers.small_bundle import trained_model
from tests.helpers.trainer_tables import (
    empty_database,
    in_memory,
    random_rows,
    small_card,
    small_pipeline,
    write_refresh,
)
from trainer.models.export import load_bundle, predict, save_bundle
from trainer.models.model import build_model
from trainer.train import train_refresh

PIPELINE = small_pipeline()
ROWS = random_rows(3000, seed=12)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return trained_model(PIPELINE)


@pytest.fixture(scope="module")
def bundle(model: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    save_bundle(model, small_card(PIPELINE), folder)
    return folder


@pytest.fixture(scope="module")
def scorer(bundle: Path) -> Scorer:
    return load_scorer(bundle)


def test_the_scorer_equals_the_trained_model_and_carries_the_sketch(
    model: nn.Module, scorer: Scorer
) -> None:
    rows = in_memory(PIPELINE, ROWS)
    with torch.inference_mode():
        output, sketch = model(torch.from_numpy(rows.categories), torch.from_numpy(rows.numbers))
    scored = scorer.score(ROWS)
    np.testing.assert_allclose(scored.prediction, output.numpy()[:, 0], atol=1e-6, rtol=1e-6)
    np.testing.assert_allclose(scored.sketch, sketch.numpy(), atol=1e-5, rtol=1e-5)
    assert (scored.prediction.dtype, scored.sketch.dtype) == (np.float64, np.float32)
    assert scored.sketch.shape == (3000, 8)


def test_a_score_does_not_depend_on_the_rows_beside_it(scorer: Scorer) -> None:
    whole = scorer.score(ROWS)
    order = np.random.default_rng(0).permutation(3000)
    for part in np.array_split(order, [1, 8, 700, 2900]):
        scored = scorer.score({name: column[part] for name, column in ROWS.items()})
        np.testing.assert_array_equal(scored.prediction, whole.prediction[part])
        np.testing.assert_array_equal(scored.sketch, whole.sketch[part])


def test_no_rows_give_no_scores(scorer: Scorer) -> None:
    scored = scorer.score({name: column[:0] for name, column in ROWS.items()})
    assert scored.prediction.shape == (0,)
    assert scored.sketch.shape == (0, 8)


def test_a_multiclass_model_gives_its_logits(tmp_path: Path) -> None:
    pipeline = small_pipeline("multiclass")
    card = small_card(pipeline, outputs=5)
    save_bundle(build_model(card, seed=1), card, tmp_path)
    assert load_scorer(tmp_path).score(ROWS).prediction.shape == (3000, 5)


@pytest.mark.parametrize("kept", ["category", "number"])
def test_a_model_may_have_one_kind_of_feature_alone(tmp_path: Path, kept: str) -> None:
    whole = small_card(PIPELINE)
    card = whole.model_copy(update={"features": [f for f in whole.features if f.kind == kept]})
    save_bundle(build_model(card, seed=1), card, tmp_path)
    assert len(load_scorer(tmp_path).score(ROWS).prediction) == 3000


def test_the_weights_come_back_bit_by_bit(model: nn.Module, bundle: Path) -> None:
    rows = in_memory(PIPELINE, ROWS)
    loaded = load_bundle(bundle)
    assert loaded.card == small_card(PIPELINE)
    np.testing.assert_array_equal(predict(loaded.model(), rows), predict(model, rows))


def test_a_missing_column_and_an_unknown_code_name_the_feature(scorer: Scorer) -> None:
    with pytest.raises(ConfigurationError, match="takes age, the rows do not have it"):
        scorer.score({name: column for name, column in ROWS.items() if name != "age"})
    with pytest.raises(DataQualityError, match=r"features\.shop: codes from -1 to"):
        scorer.score(ROWS | {"shop": ROWS["shop"] - 1})


@pytest.mark.parametrize("name", ["shop", "age"])
@pytest.mark.parametrize("given", ["one", "none", "column", "number", "half"])
def test_columns_of_different_lengths_are_refused_and_never_repeated(
    scorer: Scorer, name: str, given: str
) -> None:
    column = ROWS[name]
    changed = {
        "one": column[:1],
        "none": column[:0],
        "column": column[:, None],
        "number": np.array(column[0]),
        "half": column[:1500],
    }[given]
    with pytest.raises(DataQualityError, match="Remedy: give every column one entry a row"):
        scorer.score(ROWS | {name: changed})


def test_scoring_imports_neither_mlflow_nor_spark_nor_petastorm() -> None:
    code = (
        "import sys; from unittest.mock import MagicMock; sys.modules['torch'] = MagicMock();"
        "import inference.scorer, inference.registered;"
        "print([m for m in ('mlflow', 'pyspark', 'petastorm', 'trainer') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"


# Finding the champion.


def test_there_is_no_champion_before_the_first_and_asking_makes_nothing(tmp_path: Path) -> None:
    assert find_champion("small", str(tmp_path)) is None
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigurationError, match="model small version 1"):
        find_version("small", "1", str(tmp_path))


def test_the_champion_is_found_scores_and_a_broken_one_is_named(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    warehouse = tmp_path
    shutil.copy(empty_database(tmp_path_factory.getbasetemp()), warehouse / "mlflow.db")
    assert find_champion("small", str(warehouse)) is None
    write_refresh(warehouse, PIPELINE, "first", random_rows(300, seed=1))
    result = train_refresh(PIPELINE, str(warehouse), "first")
    champion = find_champion("small", str(warehouse))
    assert champion is not None
    assert champion == find_version("small", result["version"], str(warehouse))
    assert len(load_scorer(champion.folder).score(ROWS).prediction) == 3000
    with pytest.raises(ConfigurationError, match="version 9: not in the registry"):
        find_version("small", "9", str(warehouse))
    (champion.folder / PROGRAM).unlink()
    with pytest.raises(ConfigurationError, match=r"small version 1: program\.pt2 not found"):
        find_champion("small", str(warehouse))


def test_the_registry_is_in_the_warehouse_unless_the_environment_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(str(tmp_path)) == f"sqlite:///{tmp_path}/mlflow.db"
    with pytest.raises(ConfigurationError, match="MLFLOW_TRACKING_URI"):
        tracking_uri("s3://bucket/warehouse")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert tracking_uri("s3://bucket/warehouse") == "http://tracking:5000"
