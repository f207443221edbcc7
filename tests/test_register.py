"""`register`: a model trained elsewhere faces the gate, and is served as ours are."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tenforward
from inference.registered import find_champion
from inference.scorer import load_scorer
from schemas.bundle import CARD, PROGRAM, WEIGHTS, read_card
from schemas.encoding import encoding_of
from schemas.errors import ConfigurationError
from schemas.pipeline import Pipeline
from tests.helpers.pipeline_file import pipeline_file
from tests.helpers.trainer_tables import (
    empty_database,
    random_rows,
    small_card,
    small_pipeline,
    write_refresh,
)
from trainer.models.elsewhere import open_model
from trainer.models.export import save_bundle
from trainer.models.model import build_model
from trainer.promotion.registry import open_registry
from trainer.register import register
from trainer.train import train_refresh

PIPELINE = small_pipeline(gate={"max_loss_increase": 0.05})
ROWS = torch.export.Dim("rows", min=1)


class Truth(nn.Module):
    """The logit behind the rows (`chance`), times `times`; -1 has everything upside down."""

    def __init__(self, times: float) -> None:
        super().__init__()
        self.times = nn.Parameter(torch.tensor(times))

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        price, age = numbers[:, 0], numbers[:, 1]
        slot = categories[:, 1].float()
        return self.times * (-1.6 + 0.04 * (price - 50) + 0.25 * (slot - 3.5) - 0.1 * age)


def exported(module: nn.Module, file: Path, *, fixed: bool = False) -> Path:
    """Its program in a file; `fixed`: for two rows and no other number."""
    example = (torch.zeros((2, 2), dtype=torch.int64), torch.zeros((2, 2)))
    shapes = None if fixed else ({0: ROWS}, {0: ROWS})
    program = torch.export.export(module.eval(), example, dynamic_shapes=shapes, strict=False)
    torch.export.save(program, file)
    return file


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with one refresh, on which a version was trained that serves."""
    root = tmp_path_factory.mktemp("judged")
    shutil.copy(empty_database(tmp_path_factory.getbasetemp()), root / "mlflow.db")
    write_refresh(root, PIPELINE, "first", random_rows(300, seed=1))
    train_refresh(PIPELINE, str(root), "first")
    return root


@pytest.fixture
def warehouse(judged: Path, tmp_path: Path) -> str:
    return str(shutil.copytree(judged, tmp_path / "warehouse"))


def given(warehouse: str, model: Path, **options: Any) -> dict[str, Any]:
    return register(PIPELINE, warehouse, model, "first", **options)


def test_a_better_program_serves_with_the_lineage_of_its_refresh(
    warehouse: str, tmp_path: Path
) -> None:
    told = given(warehouse, exported(Truth(1.0), tmp_path / "model.pt2"))
    assert (told["status"], told["version"], told["promoted"]) == ("done", "2", True)
    assert set(told["metrics"]) == {"challenger", "champion", "increase"}
    champion = find_champion("small", warehouse)
    assert champion is not None
    assert (champion.version, champion.refresh_id) == ("2", "first")
    card = read_card(champion.folder)
    assert card.encoding == encoding_of(PIPELINE)
    assert card.started == "elsewhere, on refresh first"
    rows = random_rows(1500, seed=5)  # more than a block
    scored = load_scorer(champion.folder).score(rows)
    codes = torch.tensor(np.stack([rows["shop"], rows["slot"]], 1), dtype=torch.int64)
    numbers = torch.tensor(np.stack([rows["price"], rows["age"]], 1))
    wanted = Truth(1.0)(codes, numbers).detach().numpy()
    np.testing.assert_allclose(scored.prediction, wanted, rtol=1e-5)
    assert scored.sketch.shape == (1500, 3)


def test_a_worse_one_is_kept_and_does_not_serve(warehouse: str, tmp_path: Path) -> None:
    told = given(warehouse, exported(Truth(-1.0), tmp_path / "model.pt2"))
    assert (told["version"], told["promoted"]) == ("2", False)
    assert "gate.max_loss_increase is 0.05" in told["reason"]
    champion = find_champion("small", warehouse)
    assert champion is not None
    assert champion.version == "1"


def test_the_same_file_is_registered_once_and_training_goes_on_after_it(
    warehouse: str, tmp_path: Path
) -> None:
    model = exported(Truth(1.0), tmp_path / "model.pt2")
    first, again = given(warehouse, model, parent="1"), given(warehouse, model)
    assert (again["status"], again["version"]) == ("already done", first["version"])
    assert again["parent_version"] == "1"
    assert train_refresh(PIPELINE, warehouse, "first")["version"] == "1"  # of ours, as before
    write_refresh(Path(warehouse), PIPELINE, "second", random_rows(300, seed=2), day=2)
    told = train_refresh(PIPELINE, warehouse, "second")
    assert told["started"].startswith("from scratch: version 2 does not fit, it is another network")
    assert set(told["metrics"]) >= {"challenger", "champion", "increase"}


def test_a_dry_run_says_what_the_gate_says_and_registers_nothing(
    warehouse: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = exported(Truth(-1.0), tmp_path / "model.pt2")
    where = ["--pipeline", pipeline_file(tmp_path, PIPELINE), "--warehouse", warehouse]
    asked = [*where, "--model", str(model), "--refresh", "first", "--dry-run"]
    assert tenforward.main(["register", *asked]) == 0
    told = json.loads(capfd.readouterr().out)
    assert (told["status"], told["passed"]) == ("planned", False)
    assert "gate.max_loss_increase is 0.05" in told["reason"]
    assert len(open_registry(warehouse, "small", "small").versions()) == 1


def test_the_first_model_of_a_warehouse_may_come_from_elsewhere(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    write_refresh(tmp_path, PIPELINE, "first", random_rows(100, seed=1))
    model = exported(Truth(1.0), tmp_path / "model.pt2")
    assert given(str(tmp_path), model, dry_run=True)["passed"]
    assert not (tmp_path / "mlflow.db").exists()
    shutil.copy(empty_database(tmp_path_factory.getbasetemp()), tmp_path / "mlflow.db")
    assert given(str(tmp_path), model)["promoted"]


def test_a_bundle_of_another_registry_is_taken_with_its_weights(
    warehouse: str, tmp_path: Path
) -> None:
    champion = find_champion("small", warehouse)
    assert champion is not None
    folder = Path(shutil.copytree(champion.folder, tmp_path / "bundle"))
    told = given(warehouse, folder, name="other")
    assert (told["model"], told["version"], told["promoted"]) == ("other", "1", True)
    taken = find_champion("other", warehouse)
    assert taken is not None
    for name in (PROGRAM, WEIGHTS):
        assert (taken.folder / name).read_bytes() == (folder / name).read_bytes()
    (folder / CARD).unlink()  # a program alone, which gives its own sketch
    assert given(warehouse, folder, name="another")["promoted"]


class Wide(nn.Module):
    """Two outputs where one is wanted."""

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        return numbers + categories.float()


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing there": (lambda file: None, "no model.pt2 there"),
    "no program": (lambda file: file.write_bytes(b"weights"), "refused, it is not an archive"),
    "of two rows": (
        lambda file: exported(Truth(1.0), file, fixed=True),
        "does not take 3 rows of the pipeline's features",
    ),
    "two outputs": (lambda file: exported(Wide(), file), r"gave \(3, 2\) for 3 rows"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_served_is_refused_with_the_remedy(
    judged: Path, tmp_path: Path, case: str
) -> None:
    make, words = REFUSED[case]
    make(tmp_path / "model.pt2")
    with pytest.raises(ConfigurationError, match=rf"(?s){words}.*Remedy"):
        given(str(judged), tmp_path / "model.pt2", dry_run=True)


class Classes(nn.Module):
    """Twelve logits a row."""

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        return numbers[:, :1] * torch.arange(12.0) + categories.sum(1, keepdim=True).float()


@pytest.mark.parametrize("bundled", [False, True])
def test_another_number_of_classes_than_declared_is_refused(tmp_path: Path, bundled: bool) -> None:
    """Also where no champion serves that it would be compared with: each record would be
    rejected."""
    whole = small_pipeline("multiclass").model_dump(exclude_unset=True)
    whole["labels"]["classes"] = 10
    pipeline = Pipeline.model_validate(whole)
    place = exported(Classes(), tmp_path / "model.pt2")
    if bundled:
        card = small_card(pipeline, outputs=12)
        place = tmp_path
        save_bundle(build_model(card, seed=1), card, place)
    inputs = (np.zeros((5, 2), np.int64), np.zeros((5, 2), np.float32))
    words = r"gives 12 outputs a row, labels\.classes = 10 .*Remedy"
    with pytest.raises(ConfigurationError, match=words):
        open_model(place, pipeline, "first", encoding_of(pipeline), inputs)
    whole["labels"]["classes"] = 12
    pipeline = Pipeline.model_validate(whole)
    assert open_model(place, pipeline, "first", encoding_of(pipeline), inputs).card.outputs == 12


def test_a_wider_sketch_than_a_record_keeps_is_refused(tmp_path: Path) -> None:
    card = small_card(PIPELINE)
    save_bundle(build_model(card, seed=1), card, tmp_path)
    wide = card.model_copy(update={"sketch_width": 17})
    (tmp_path / CARD).write_text(wide.model_dump_json())
    with pytest.raises(
        ConfigurationError, match=r"sketch of 17 numbers, a record keeps 16.*Remedy"
    ):
        open_model(tmp_path, PIPELINE, "first", encoding_of(PIPELINE), ())


def test_a_refresh_or_a_parent_that_is_not_there_is_refused(judged: Path, tmp_path: Path) -> None:
    model = exported(Truth(1.0), tmp_path / "model.pt2")
    with pytest.raises(ConfigurationError, match="--refresh nope: not in table refreshes"):
        register(PIPELINE, str(judged), model, "nope")
    with pytest.raises(ConfigurationError, match="--parent 9: model small has no such version"):
        given(str(judged), model, parent="9")


def test_a_model_that_says_no_number_does_not_serve(warehouse: str, tmp_path: Path) -> None:
    told = given(warehouse, exported(Truth(float("nan")), tmp_path / "model.pt2"))
    assert not told["promoted"]
    assert "not finite" in told["reason"]
