"""A bundle that someone changed: opening it runs no foreign code, and says what is wrong."""

import io
import json
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inference.graph import SuspectError, checked_graph
from inference.scorer import Scorer, load_scorer
from schemas.bundle import PROGRAM
from schemas.errors import ConfigurationError
from tests.helpers.small_bundle import trained_model
from tests.helpers.trainer_tables import random_rows, small_card, small_pipeline
from trainer.models.export import save_bundle

ROWS = random_rows(3000, seed=12)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, pipeline = tmp_path_factory.mktemp("bundle"), small_pipeline()
    save_bundle(trained_model(pipeline), small_card(pipeline), folder)
    return folder


@pytest.fixture(scope="module")
def scorer(bundle: Path) -> Scorer:
    return load_scorer(bundle)


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


@pytest.mark.parametrize(
    "operator", ["from_file", "save", "warn", "_print", "manual_seed", "set_grad_enabled"]
)
def test_an_operator_that_is_no_arithmetic_is_refused(
    bundle: Path, tmp_path: Path, operator: str
) -> None:
    """Torch has them under the same name as the others, `torch.ops.aten`."""
    assert getattr(torch.ops.aten, operator).default
    called = f"torch.ops.aten.{operator}.default"
    changed = entry(bundle, GRAPH).replace("torch.ops.aten.relu.default", called)
    with pytest.raises(ConfigurationError, match=rf"calls '{re.escape(called)}'"):
        load_scorer(rewritten(bundle, tmp_path, {GRAPH: changed.encode()}))


@pytest.mark.parametrize(
    ("word", "allowed"), [("none", True), ("floor", True), ("weights", False), ("a_file", False)]
)
def test_an_operator_is_given_no_word_but_its_options(word: str, allowed: bool) -> None:
    graph = {"inputs": [{"name": "approximate", "arg": {"as_string": word}}]}
    if allowed:
        assert checked_graph(graph) == graph
    else:
        with pytest.raises(SuspectError, match=f"as_string = '{word}'"):
            checked_graph(graph)


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
