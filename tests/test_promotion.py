"""Training to the registry, on real tables: what is registered, what serves, and why."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from inference.registered import find_champion
from schemas.errors import ConfigurationError
from schemas.manifests import REPORT_CARDS, find_manifest
from tests.helpers.trainer_tables import (
    random_rows,
    small_pipeline,
    sound_and_flipped,
    write_refresh,
)
from trainer.promotion.registry import open_registry
from trainer.train import train_refresh

PIPELINE = small_pipeline(gate={"max_loss_increase": 0.05})


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two refreshes: a sound one, and a later one whose labels are upside down."""
    return sound_and_flipped(tmp_path_factory, PIPELINE)


@pytest.fixture
def warehouse(untrained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(untrained, tmp_path / "warehouse"))


def test_the_first_model_is_promoted_and_carries_its_origin(warehouse: Path) -> None:
    result = train_refresh(PIPELINE, str(warehouse), "sound")
    assert result["status"] == "done"
    assert result["promoted"] is True
    assert result["parent_version"] is None
    assert result["rows"] == 500
    assert result["metrics"]["challenger"]["rows"] == 200
    champion = find_champion("small", str(warehouse))
    assert champion is not None
    assert (champion.version, champion.refresh_id) == (result["version"], "sound")
    registry = open_registry(str(warehouse), "small", "small")
    run = registry.client.get_run(result["run_id"])
    assert run.data.tags["sample_digest"] == "digest-of-sound"
    assert run.data.metrics["challenger.loss"] == result["metrics"]["challenger"]["loss"]
    assert run.data.params["epochs"] == "3"


def test_the_run_names_every_table_version_behind_it(warehouse: Path) -> None:
    """As MLflow's datasets, which its page shows beside the run."""
    result = train_refresh(PIPELINE, str(warehouse), "sound")
    registry = open_registry(str(warehouse), "small", "small")
    run = registry.client.get_run(result["run_id"])
    manifest = find_manifest(str(warehouse / "refreshes"), "sound")
    assert manifest is not None
    found = {one.dataset.name: one for one in run.inputs.dataset_inputs}
    sources = {name: json.loads(one.dataset.source) for name, one in found.items()}
    assert sources == {
        name: {"path": str(warehouse / name), "delta_table_version": version}
        for name, version in manifest.versions().items()
    }
    assert found["sampled"].dataset.digest == "digest-of-sound"
    uses = {name: one.tags[0].value for name, one in found.items()}
    assert (uses["sampled"], uses["holdout"]) == ("training", "evaluation")


def test_the_run_keeps_what_the_gate_saw(warehouse: Path) -> None:
    segmented = small_pipeline(segments=["shop"], selection={"forward_days": 1})
    held = random_rows(400, seed=98)
    held |= {"segments": [[f"shop {code % 2}"] for code in held["shop"]]}
    held |= {"forward": np.arange(400) >= 250}
    cards = warehouse / REPORT_CARDS
    cards.mkdir()
    (cards / "judged.html").write_text("<p>the card</p>")
    write_refresh(warehouse, segmented, "judged", random_rows(500, seed=5), held, day=4)
    train_refresh(segmented, str(warehouse), "judged")
    result = train_refresh(segmented, str(warehouse), "judged", force=True)
    metrics = result["metrics"]
    assert (metrics["challenger"]["rows"], metrics["forward.champion"]["rows"]) == (250, 150)
    registry = open_registry(str(warehouse), "small", "small")
    run = registry.client.get_run(result["run_id"])
    low, high = (run.data.metrics[f"challenger.loss_{end}"] for end in ("low", "high"))
    assert low < run.data.metrics["challenger.loss"] < high
    folder = Path(registry.client.download_artifacts(run.info.run_id, "report"))
    assert (folder / "report_card.html").read_text() == "<p>the card</p>"
    seen = json.loads((folder / "evaluation.json").read_text())
    lines = [(line["segment"], line["level"]) for line in seen["held-out"]["segments"]]
    assert lines == [("shop", "shop 0"), ("shop", "shop 1")]
    assert sum(line["rows"] for line in seen["forward"]["segments"]) == 150


def test_a_failed_gate_leaves_the_champion_serving_and_says_why(warehouse: Path) -> None:
    train_refresh(PIPELINE, str(warehouse), "sound")
    result = train_refresh(PIPELINE, str(warehouse), "flipped")
    assert result["promoted"] is False
    assert result["parent_version"] == "1"
    assert "gate.max_loss_increase is 0.05" in result["reason"]
    assert result["metrics"]["challenger"]["loss"] > result["metrics"]["champion"]["loss"]
    champion = find_champion("small", str(warehouse))
    assert champion is not None
    assert champion.version == "1"
    again = train_refresh(PIPELINE, str(warehouse), "flipped")
    assert (again["status"], again["promoted"]) == ("already done", False)
    assert again["reason"] == result["reason"]


def test_another_model_name_is_another_line_of_models(warehouse: Path) -> None:
    train_refresh(PIPELINE, str(warehouse), "sound")
    result = train_refresh(PIPELINE, str(warehouse), "sound", model_name="small_uniform")
    assert (result["status"], result["version"]) == ("done", "1")
    assert result["parent_version"] is None


@pytest.fixture
def cut_short(warehouse: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A warehouse where a training on "sound" was killed before its promotion."""

    def killed(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("trainer.promotion.registry.Registry.finish_promotion", killed)
        with pytest.raises(KeyboardInterrupt):
            train_refresh(PIPELINE, str(warehouse), "sound")
    return warehouse


def test_a_promotion_that_was_cut_short_is_finished_by_the_next_run(cut_short: Path) -> None:
    assert find_champion("small", str(cut_short)) is None
    again = train_refresh(PIPELINE, str(cut_short), "sound")
    assert (again["status"], again["promoted"]) == ("already done", True)
    champion = find_champion("small", str(cut_short))
    assert champion is not None
    assert champion.version == again["version"]


def test_a_promotion_cut_short_does_not_overtake_a_later_champion(cut_short: Path) -> None:
    train_refresh(PIPELINE, str(cut_short), "flipped")
    again = train_refresh(PIPELINE, str(cut_short), "sound")
    assert (again["version"], again["promoted"]) == ("1", False)
    champion = find_champion("small", str(cut_short))
    assert champion is not None
    assert champion.version == "2"


def test_a_roll_back_is_not_undone_by_repeating_a_training(warehouse: Path) -> None:
    train_refresh(PIPELINE, str(warehouse), "sound")
    train_refresh(PIPELINE, str(warehouse), "sound", force=True)
    registry = open_registry(str(warehouse), "small", "small")
    registry.client.set_registered_model_alias("small", "champion", "1")
    train_refresh(PIPELINE, str(warehouse), "sound")
    champion = find_champion("small", str(warehouse))
    assert champion is not None
    assert champion.version == "1"


def test_a_champion_of_other_features_cannot_be_compared(warehouse: Path) -> None:
    train_refresh(PIPELINE, str(warehouse), "sound")
    wider = PIPELINE.model_dump()
    wider["features"]["shop"]["buckets"] = 64
    changed = type(PIPELINE).model_validate(wider)
    with pytest.raises(ConfigurationError, match=r"features: the champion .*--model NAME"):
        train_refresh(changed, str(warehouse), "flipped")


def test_other_layers_start_from_scratch_and_still_face_the_champion(warehouse: Path) -> None:
    train_refresh(PIPELINE, str(warehouse), "sound")
    deeper = small_pipeline(model={"hidden": [8, 8, 8]})
    result = train_refresh(deeper, str(warehouse), "flipped")
    assert result["parent_version"] is None
    assert set(result["metrics"]) == {"train", "challenger", "champion", "increase"}
