"""The bundle: what is scored is what was trained, and opening one runs no foreign code."""

import io
import json
import pickle
import re
import shutil
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from inference.registered import find_champion, find_version
from inference.scorer import Scorer, load_scorer
from schemas.bundle import PROGRAM
from schemas.errors import ConfigurationError, DataQualityError
from schemas.registry import tracking_uri
from tests.helpers.trainer_tables import (
    empty_database,
    in_memory,
    random_rows,
    small_card,
    small_pipeline,
    write_refresh,
)
from trainer.data.survey import survey_of
from trainer.fitting.fit import fit
from trainer.models.export import load_bundle, predict, save_bundle
from trainer.models.model import build_model, standardise
from trainer.train import train_refresh

PIPELINE = small_pipeline()
ROWS = random_rows(3000, seed=12)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    trained = build_model(small_card(PIPELINE), seed=1)
    rows = in_memory(PIPELINE, random_rows(500, seed=13))
    standardise(trained, survey_of([rows], "binary"))
    fit(trained, rows, "binary", PIPELINE.training)
    return trained


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


# A bundle that someone changed.


class Evil:
    """Says what it did when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this ran",)


def rewritten(bundle: Path, folder: Path, changes: dict[str, bytes]) -> Path:
    """A copy of the program with entries replaced or added; names end as the keys do."""
    source, target = zipfile.ZipFile(bundle / PROGRAM), folder / PROGRAM
    with source, zipfile.ZipFile(target, "w") as archive:
        names = source.namelist()
        root = names[0].split("/")[0]
        for name in dict.fromkeys(names + [f"{root}/{key}" for key in changes]):
            key = name.split("/", 1)[1]
            archive.writestr(name, changes[key] if key in changes else source.read(name))
    (folder / "model.json").write_bytes((bundle / "model.json").read_bytes())
    return folder


def pickled() -> bytes:
    buffer = io.BytesIO()
    torch.save(Evil(), buffer)
    return buffer.getvalue()


def entry(bundle: Path, key: str) -> str:
    with zipfile.ZipFile(bundle / PROGRAM) as archive:
        name = next(name for name in archive.namelist() if name.endswith(key))
        return archive.read(name).decode()


def test_an_untouched_copy_still_loads(bundle: Path, tmp_path: Path, scorer: Scorer) -> None:
    copied = load_scorer(rewritten(bundle, tmp_path, {}))
    np.testing.assert_array_equal(copied.score(ROWS).prediction, scorer.score(ROWS).prediction)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("data/sample_inputs/model.pt", "holds more than tensors"),
        ("data/weights/model.pt", "an entry"),
        ("data/constants/opaque_obj_0", "an entry"),
        ("data/aotinductor/model/x.so", "an entry"),
    ],
)
def test_a_program_with_pickled_objects_is_refused_before_it_is_opened(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, words: str
) -> None:
    content = pickle.dumps(Evil()) if "opaque" in key else pickled()
    with pytest.raises(ConfigurationError, match=words):
        load_scorer(rewritten(bundle, tmp_path, {key: content}))
    assert "this ran" not in capsys.readouterr().out


def test_weights_that_ask_for_pickle_are_refused(bundle: Path, tmp_path: Path) -> None:
    key = "data/weights/model_weights_config.json"
    config = json.loads(entry(bundle, key))
    next(iter(config["config"].values()))["use_pickle"] = True
    with pytest.raises(ConfigurationError, match="asks for pickle"):
        load_scorer(rewritten(bundle, tmp_path, {key: json.dumps(config).encode()}))


def test_a_program_that_calls_anything_but_tensor_operators_is_refused(
    bundle: Path, tmp_path: Path
) -> None:
    key = "models/model.json"
    changed = entry(bundle, key).replace("torch.ops.aten.relu.default", "torch.os.system")
    with pytest.raises(ConfigurationError, match=r"calls 'torch\.os\.system'"):
        load_scorer(rewritten(bundle, tmp_path, {key: changed.encode()}))


GRAPH = "models/model.json"
RUNS = "__import__('builtins').print('this ran')"


def replaced(graph: Any, key: str, value: Any) -> Any:
    """The graph with every value under a key replaced."""
    if isinstance(graph, dict):
        return {k: value if k == key else replaced(v, key, value) for k, v in graph.items()}
    return [replaced(one, key, value) for one in graph] if isinstance(graph, list) else graph


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("expr_str", RUNS, "expr_str"),
        ("expr_str", f"Symbol({RUNS})", "expr_str"),
        ("expr_str", f"Symbol('s1', positive={RUNS})", "expr_str"),
        ("expr_str", f"Mul(Integer(2), {RUNS})", "expr_str"),
        ("expr_str", "Pow(Integer(9), Pow(Integer(9), Integer(9)))", "expr_str"),
        ("expr_str", "Symbol('s1').__class__", "expr_str"),
        ("expr_str", "Integer('9')", "expr_str"),
        ("name", "x\nimport os", "name"),
        ("parameter_name", "network.head; import os", "parameter_name"),
        ("buffer_name", "mean[0]", "buffer_name"),
        ("forward_arg_names", ["categories=print('this ran')"], "forward_arg_names"),
        ("in_spec", '[1, {"type": "os.system", "context": null, "children_spec": []}]', "in_spec"),
        ("out_spec", f'[1, {{"type": null, "{RUNS}": 1}}]', "out_spec"),
        ("type", "meta", "type"),
        ("torch_version", {"a b": "c"}, "a key = 'a b'"),
        ("opset_version", {"aten": "10; import os"}, "'aten'"),
        ("fqn", "../../etc", "fqn"),
    ],
)
def test_a_graph_says_nothing_that_torch_would_evaluate(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, value: Any,
    words: str,
) -> None:  # fmt: skip
    graph = replaced(json.loads(entry(bundle, GRAPH)), key, value)
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        load_scorer(rewritten(bundle, tmp_path, {GRAPH: json.dumps(graph).encode()}))
    assert "this ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("guards_code", [RUNS]),
        ("metadata", {"stack_trace": RUNS, "nn_module_stack": RUNS, "source_fn_stack": RUNS}),
    ],
)
def test_what_a_graph_need_not_say_is_not_read(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], scorer: Scorer, key: str,
    value: Any,
) -> None:  # fmt: skip
    graph = replaced(json.loads(entry(bundle, GRAPH)), key, value)
    changed = load_scorer(rewritten(bundle, tmp_path, {GRAPH: json.dumps(graph).encode()}))
    np.testing.assert_array_equal(changed.score(ROWS).prediction, scorer.score(ROWS).prediction)
    assert "this ran" not in capsys.readouterr().out


@pytest.mark.parametrize("second", [GRAPH, "data/sample_inputs/model.pt", "byteorder"])
@pytest.mark.parametrize("last", [True, False])
def test_two_entries_of_one_name_are_refused(
    bundle: Path, tmp_path: Path, second: str, last: bool
) -> None:
    """A checker that reads the last entry of a name, and torch another, see two programs."""
    rewritten(bundle, tmp_path, {})
    with zipfile.ZipFile(tmp_path / PROGRAM) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    root = entries[0][0].split("/")[0]
    foreign = (f"{root}/{second}", pickled())
    with (
        zipfile.ZipFile(tmp_path / PROGRAM, "w") as archive,
        warnings.catch_warnings(action="ignore"),
    ):
        for name, content in [*entries, foreign] if last else [foreign, *entries]:
            archive.writestr(name, content)
    assert len(zipfile.ZipFile(tmp_path / PROGRAM).namelist()) >= len(entries)
    with pytest.raises(ConfigurationError, match=r"two entries|holds more|an entry|is damaged"):
        load_scorer(tmp_path)


@pytest.mark.parametrize("key", [GRAPH, "data/weights/model_weights_config.json"])
@pytest.mark.parametrize("content", [b"", b"[", b"null", b"{}", b"[" * 100_000, b"\xff"])
def test_a_damaged_entry_is_refused_by_name(
    bundle: Path, tmp_path: Path, key: str, content: bytes
) -> None:
    with pytest.raises(ConfigurationError, match=r"program\.pt2: refused, .*Remedy"):
        load_scorer(rewritten(bundle, tmp_path, {key: content}))


def test_a_file_that_is_no_bundle_is_refused(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not the card"):
        load_scorer(tmp_path)
    (tmp_path / "model.json").write_bytes((bundle / "model.json").read_bytes())
    (tmp_path / PROGRAM).write_bytes(b"not a program")
    with pytest.raises(ConfigurationError, match="not an archive"):
        load_scorer(tmp_path)


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
