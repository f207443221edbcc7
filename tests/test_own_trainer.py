"""docs/own-trainer.md as it stands: what is served is calibrated with weight and offset alone."""

import re
import shlex
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import tenforward
from inference.registered import find_champion
from inference.scorer import load_scorer
from spark_jobs.selection.draw import draw
from tests.helpers.pipeline_file import pipeline_file
from tests.helpers.trainer_tables import (
    chance,
    empty_database,
    random_rows,
    small_pipeline,
    write_refresh,
)

PAGE = Path(__file__).parents[1] / "docs" / "own-trainer.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
TRAINERS = ("torch", "sklearn", "lightgbm", "xgboost")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The page's names after its blocks, on a sample of which half the labels are positive though
    a fifth of all are."""
    folder, rows = tmp_path_factory.mktemp("own"), random_rows(20_000, seed=8)
    known = chance(rows)
    records = pa.table(
        {
            "instance_id": [f"r{i}" for i in range(len(known))],
            "prediction": 0.7 * np.log(known / (1 - known)) - 0.3,
            "label": rows["label"].astype(np.float64),
        }
    )
    found = draw(records, policy="local-case-control", budget=0.1, seed=7).to_pandas()
    here = found.drawn.to_numpy()
    own = {
        "weight": found.weight.to_numpy(np.float32)[here],
        "offset": found.offset.to_numpy(np.float32)[here],
        "probability": found.probability.to_numpy()[here],
    }
    drawn = {name: column[here] for name, column in rows.items()} | own
    write_refresh(folder, small_pipeline(), "first", drawn, random_rows(5000, seed=9))
    names: dict[str, Any] = {"warehouse": str(folder), "refresh": "first"}
    for block in BLOCKS:
        package = re.match(r"(?:from|import) (\w+)", block)
        if package is None or find_spec(package[1]) is not None:
            exec(compile(block, PAGE.name, "exec"), names)
    return names


def loss(page: dict[str, Any], trainer: str, **changed: Any) -> float:
    """Mean log loss on the hold-out after training with some columns replaced."""
    if find_spec(trainer) is None:
        pytest.skip(f"{trainer} is not installed")
    sample, held_out = page["sample"], page["held_out"]
    for name, column in changed.items():
        kind = sample.schema.field(name).type
        sample = sample.set_column(sample.column_names.index(name), name, pa.array(column, kind))
    fewer = {"epochs": 12} if trainer == "torch" else {}
    logit = page[f"fit_{trainer}"](sample, **fewer)(held_out).astype(np.float64)
    label = held_out["label"].to_numpy()
    return float(np.mean(np.logaddexp(0, logit) - label * logit))


@pytest.mark.parametrize("trainer", [one for one in TRAINERS if one != "sklearn"])
def test_with_both_is_best_and_the_offset_turned_is_worst(
    page: dict[str, Any], trainer: str
) -> None:
    offset = page["sample"]["offset"].to_numpy()
    both, alone, turned = (
        loss(page, trainer, offset=column) for column in (offset, 0 * offset, -offset)
    )
    assert both + 0.05 < alone < turned - 0.05


def test_one_over_the_probability_is_right_where_there_is_no_offset(page: dict[str, Any]) -> None:
    equal = np.ones(len(page["sample"]))
    assert loss(page, "sklearn") + 0.05 < loss(page, "sklearn", probability=equal)


def test_the_frame_and_the_other_way_to_read_have_the_same_rows(page: dict[str, Any]) -> None:
    assert len(page["frame"]) == len(page["sample"])
    ids = page["sample"]["instance_id"].to_pylist()
    assert sorted(page["table"]["instance_id"].to_pylist()) == sorted(ids)


def test_the_page_s_program_goes_through_the_gate(
    page: dict[str, Any], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shutil.copy(empty_database(tmp_path_factory.getbasetemp()), page["warehouse"])
    model = page["fit_exported"](page["sample"], epochs=4)
    page["export"](model, page["sample"], tmp_path / "model.pt2")
    text = PAGE.read_text(encoding="utf-8")
    lines = re.findall(r"^    tenforward (register [^#\n]*)", text, re.MULTILINE)
    places = {"P": pipeline_file(tmp_path, small_pipeline()), "REFRESH": page["refresh"]}
    places["model.pt2"] = str(tmp_path / "model.pt2")
    for line in lines:
        words = [places.get(word, word) for word in shlex.split(line)]
        assert tenforward.main([*words, "--warehouse", page["warehouse"]]) == 0
    champion = find_champion("small", page["warehouse"])
    assert champion is not None
    served = load_scorer(champion.folder)
    held_out = page["held_out"]
    columns = {name: held_out[name].to_numpy() for name in page["FEATURES"]}
    codes, numbers = page["torch_dataset"](held_out).tensors[:2]
    wanted = model(codes, numbers).detach().numpy()
    np.testing.assert_allclose(served.score(columns).prediction, wanted, atol=1e-5)
