"""A model of one's own is tried before its first step, and told what to change."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import tenforward
from schemas.errors import ConfigurationError
from schemas.pipeline import Pipeline
from tests.helpers.pipeline_file import pipeline_file
from tests.helpers.trainer_tables import in_memory, random_rows, small_pipeline, sound_and_flipped
from trainer.data.reader import Rows
from trainer.data.survey import survey_of
from trainer.fitting.fit import fit
from trainer.fitting.own_trial import narrowest, try_own_model
from trainer.fitting.start import Start, prepare
from trainer.processes.ranks import Ranks

HERE = "tests.helpers.own_networks"
ROWS = 520  # eight batches of 64 and one of 8


def pipeline_of(case: str, settings: dict[str, Any] | None = None, **training: Any) -> Pipeline:
    model = {
        "name": f"{HERE}:made",
        "sketch_layer": "body",
        "settings": {"case": case, **(settings or {})},
    }
    return small_pipeline(model=model, training=training)


def started(pipeline: Pipeline, count: int = ROWS) -> tuple[Start, Rows]:
    rows = in_memory(pipeline, random_rows(count, seed=1))
    survey = survey_of([rows], pipeline.task)
    return prepare(pipeline, "some", survey, rows.label, None), rows


def tried(pipeline: Pipeline, drawn: int = ROWS, world: int = 1, rows: Rows | None = None) -> None:
    start, some = started(pipeline)
    ranks = replace(Ranks(), world=world)
    settings = {f"model.{k}": v for k, v in pipeline.model.resolved().items()}
    try_own_model(start, pipeline, some if rows is None else rows, drawn, ranks, settings)


REFUSED = {
    "Tied": r"network\.one\.weight and network\.two\.weight are one tensor.*Remedy: .*F\.linear",
    "Unused": r"network\.spare\.weight, network\.spare\.bias, which gets no.*requires_grad_\(False",
    "NothingToTrain": "has no parameter to train",
    "NotFinite": r"network\.head\.bias is not finite before the first step",
    "Logarithm": "outputs are not finite before the first step",
    "Double": r"gave \(5, 1\) of torch\.float64 for 5 rows.*torch\.float32",
    "Squeezed": r"gave \(1,\) of torch\.float32 for 1 rows",
    "Random": "draws random numbers. Remedy: draw where self.training is true",
    "Neighbours": "answers a row differently when other rows stand beside it",
    "Counting": r"changes network\.count when it only answers",
    "Unkept": r"buffer network\.noise is not persistent",
    "Unregistered": "a tensor is not registered",
    "Pair": r"one step of training failed.*Remedy: ",
    "Failing": r"one step of training failed \(own_networks\.py, line \d+\): ZeroDivision",
    "InPlace": "one step of training failed.*modified by an inplace operation",
    "Sparse": "one step of training failed.*sparse",
    "Branching": "cannot be exported",
    "ExtraState": "state_dict has 'network._extra_state', a dict",
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_what_would_fail_later_is_refused_before_the_first_step(case: str) -> None:
    with pytest.raises(ConfigurationError, match=REFUSED[case]) as refused:
        tried(pipeline_of(case))
    assert refused.value.exit_code == 2
    assert f"model.name = '{HERE}:made'" in str(refused.value)
    assert str(refused.value).count("Remedy: ") == 1


@pytest.mark.parametrize("case", ["Network", "Normalised", "Frozen", "Dropping", "Reshaping"])
def test_a_sound_model_is_let_through(case: str) -> None:
    tried(pipeline_of(case))


def test_rows_of_the_refresh_are_not_needed() -> None:
    pipeline = pipeline_of("Network")
    tried(pipeline, rows=in_memory(pipeline, random_rows(0)))


@pytest.mark.parametrize(
    ("rows", "batch", "world", "least"),
    [
        (520, 64, 1, 8),
        (513, 64, 1, 1),
        (513, 64, 2, 1),
        (514, 64, 2, 1),
        (515, 64, 2, 2),
        (512, 64, 2, 32),
        (3, 64, 1, 3),
        (1, 64, 1, 1),
        (10, 1, 1, 1),
    ],
)
def test_the_narrowest_step_of_an_epoch(rows: int, batch: int, world: int, least: int) -> None:
    assert narrowest(rows, batch, world) == least


@pytest.mark.parametrize(("drawn", "world"), [(513, 1), (514, 2)])
def test_batch_normalisation_and_a_last_batch_of_one_row(drawn: int, world: int) -> None:
    words = r"cannot be trained on one row.*Remedy: choose another training\.batch_size than 64"
    with pytest.raises(ConfigurationError, match=words):
        tried(pipeline_of("Normalised"), drawn=drawn, world=world)
    tried(pipeline_of("Network"), drawn=drawn, world=world)


@pytest.mark.parametrize("name", ["my width!", "a//b", "x" * 251])
def test_names_of_settings_that_the_registry_refuses(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"model\.settings, .*Remedy: name it with"):
        tried(pipeline_of("Network", {name: 1}))


def test_the_trial_changes_nothing_of_the_fit() -> None:
    pipeline = pipeline_of("Dropping", epochs=2)

    def fitted(*, trial: bool) -> tuple[list[Tensor], list[Any]]:
        torch.manual_seed(3)
        np.random.seed(3)  # noqa: NPY002 - a model of one's own may use it
        random.seed(3)
        start, rows = started(pipeline)
        if trial:
            try_own_model(start, pipeline, rows, ROWS, Ranks(), {})
        model = start.model()
        fit(model, rows, pipeline.task, pipeline.training)
        drawn = [torch.rand(1).item(), np.random.rand(), random.random()]  # noqa: NPY002
        return list(model.state_dict().values()), drawn

    one, other = fitted(trial=False), fitted(trial=True)
    assert one[1] == other[1]
    assert all(map(torch.equal, one[0], other[0]))


BROKEN = {
    "def made(blueprint): return blueprint.settings['depth']": (
        "the factory failed .broken_model.py, line 1.: KeyError: 'depth'"
    ),
    "import torch\nraise OSError('no weights')": "cannot be imported.*OSError: no weights",
    "def made(blueprint) return": "cannot be imported.*SyntaxError",
}


@pytest.mark.parametrize("code", list(BROKEN))
def test_a_mistake_in_the_module_is_told_with_its_line(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_model.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "broken_model", raising=False)
    pipeline = small_pipeline(model={"name": "broken_model:made", "sketch_layer": "body"})
    with pytest.raises(ConfigurationError, match=BROKEN[code]):
        started(pipeline)


def test_train_refuses_with_2_and_spends_nothing(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pipeline = pipeline_of("Tied")
    warehouse = sound_and_flipped(tmp_path_factory, pipeline)
    file = Path(pipeline_file(tmp_path, pipeline))
    layer = f"[model]\nname = '{HERE}:made'\nsketch_layer = 'body'\n"
    file.write_text(f"{file.read_text()}\n{layer}[model.settings]\ncase = 'Tied'\n")
    where = ["--pipeline", str(file), "--warehouse", str(warehouse)]
    code = tenforward.main(["train", *where, "--refresh", "sound"])
    out, log = capfd.readouterr()
    assert code == json.loads(out.splitlines()[-1])["exit_code"] == 2
    assert "are one tensor" in out
    assert "Traceback" not in log
    assert not (warehouse / "backward_passes").exists()
