"""Training to the registry, on real tables: what is registered, what serves, and why."""

import json
import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest

from inference.registered import find_champion
from schemas.errors import ConfigurationError, ConflictError, DataQualityError, NoDataError
from schemas.manifests import REPORT_CARDS
from tests.helpers.trainer_tables import empty_database, random_rows, small_pipeline, write_refresh
from trainer.processes.lock import exclusive
from trainer.promotion.registry import open_registry
from trainer.train import main, train_refresh

PIPELINE = small_pipeline(gate={"max_loss_increase": 0.05})


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two refreshes: a sound one, and a later one whose labels are upside down."""
    root = tmp_path_factory.mktemp("untrained")
    shutil.copy(empty_database(tmp_path_factory.getbasetemp()), root / "mlflow.db")
    write_refresh(root, PIPELINE, "sound", random_rows(500, seed=1), day=1)
    flipped = random_rows(500, seed=2)
    flipped["label"] = 1 - flipped["label"]
    write_refresh(root, PIPELINE, "flipped", flipped, day=2)
    return root


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


def test_a_trained_refresh_is_already_done_unless_forced(warehouse: Path) -> None:
    first = train_refresh(PIPELINE, str(warehouse), "sound")
    again = train_refresh(PIPELINE, str(warehouse), "sound")
    assert again["status"] == "already done"
    assert (again["version"], again["run_id"]) == (first["version"], first["run_id"])
    forced = train_refresh(PIPELINE, str(warehouse), "sound", force=True)
    assert (forced["status"], forced["version"]) == ("done", "2")


def test_latest_takes_the_newest_refresh_and_then_has_nothing_to_do(warehouse: Path) -> None:
    other = small_pipeline()
    write_refresh(warehouse, other, "of-a-comparison", random_rows(50), day=3, policy="uniform")
    result = train_refresh(PIPELINE, str(warehouse))
    assert (result["status"], result["refresh_id"]) == ("done", "flipped")
    assert train_refresh(PIPELINE, str(warehouse))["status"] == "nothing to do"


def test_another_model_name_is_another_line_of_models(warehouse: Path) -> None:
    train_refresh(PIPELINE, str(warehouse), "sound")
    result = train_refresh(PIPELINE, str(warehouse), "sound", model_name="small_uniform")
    assert (result["status"], result["version"]) == ("done", "1")
    assert result["parent_version"] is None


def test_retraining_on_the_same_rows_gives_the_same_weights(warehouse: Path) -> None:
    scratch = small_pipeline(training={"warm_start": False})
    train_refresh(scratch, str(warehouse), "sound", model_name="one")
    train_refresh(scratch, str(warehouse), "sound", model_name="two")
    bundles = [find_champion(name, str(warehouse)) for name in ("one", "two")]
    one, two = [(c.folder / "weights.safetensors").read_bytes() for c in bundles if c]
    assert one == two


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


def test_a_nan_loss_registers_nothing(warehouse: Path) -> None:
    broken = random_rows(64, seed=3) | {"weight": np.full(64, np.nan, np.float32)}
    write_refresh(warehouse, PIPELINE, "broken", broken, day=3)
    with pytest.raises(DataQualityError, match="loss = nan"):
        train_refresh(PIPELINE, str(warehouse), "broken")
    registry = open_registry(str(warehouse), "small", "small")
    assert registry.trained("broken", "digest-of-broken") is None


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"label": np.full(64, 2, np.float32)}, DataQualityError, "label = 2.0: not a class"),
        ({"weight": np.zeros(64, np.float32)}, DataQualityError, "weights sum to 0"),
    ],
)
def test_rows_that_cannot_be_trained_on_are_refused(
    warehouse: Path, change: dict[str, np.ndarray], error: type[Exception], words: str
) -> None:
    write_refresh(warehouse, PIPELINE, "odd", random_rows(64, seed=3) | change, day=3)
    with pytest.raises(error, match=words):
        train_refresh(PIPELINE, str(warehouse), "odd")


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


def test_no_refresh_yet_is_no_data(warehouse: Path) -> None:
    other = small_pipeline().model_copy(update={"name": "other"})
    with pytest.raises(NoDataError, match="no refresh of policy 'calibrated' yet"):
        train_refresh(other, str(warehouse))


def test_one_training_of_a_model_at_a_time(warehouse: Path) -> None:
    with (
        exclusive(warehouse / ".train-small.lock", wait=False),
        pytest.raises(ConflictError, match="held by another process"),
    ):
        train_refresh(PIPELINE, str(warehouse), "sound")


# Pulls to choose from.


def test_the_pull_that_answers_best_on_later_days_is_taken_and_told(warehouse: Path) -> None:
    train_refresh(PIPELINE, str(warehouse), "sound")
    pulls = small_pipeline(
        training={"pulls": [0.0, 1000.0], "learning_rate": 0.05, "checkpoint_steps": 3},
        selection={"forward_days": 1},
        gate={"max_loss_increase": 10},
    )
    held = random_rows(400, seed=97) | {"forward": np.arange(400) >= 200}
    mirrored = random_rows(300, seed=2)
    mirrored["price"] = 100 - mirrored["price"]  # the later days are not: trust the parent
    write_refresh(warehouse, pulls, "odd", mirrored, held, day=5)
    result = train_refresh(pulls, str(warehouse), "odd")
    told = result["metrics"]["pull"]
    assert told["loss_of_0.0"] > told["loss_of_1000.0"]
    assert told["taken"] == 1000.0
    assert result["metrics"]["forward.challenger"]["rows"] == 100  # the half that did not choose
    assert list((warehouse / "checkpoints").iterdir()) == []
    registry = open_registry(str(warehouse), "small", "small")
    assert registry.client.get_run(result["run_id"]).data.params["pull"] == "1000.0"


def test_too_few_later_rows_choose_nothing(warehouse: Path) -> None:
    train_refresh(PIPELINE, str(warehouse), "sound")
    pulls = small_pipeline(
        training={"pulls": [0.0, 1.0], "pull": 0.5}, selection={"forward_days": 1}
    )
    write_refresh(warehouse, pulls, "odd", random_rows(300, seed=2), day=5)
    result = train_refresh(pulls, str(warehouse), "odd")
    assert "pull" not in result["metrics"]
    registry = open_registry(str(warehouse), "small", "small")
    assert registry.client.get_run(result["run_id"]).data.params["pull"] == "0.5"


# The command.


def pipeline_file(folder: Path) -> str:
    """PIPELINE as a file; TOML is close enough to JSON for one this small."""
    lines = ['name = "small"', 'task = "binary"', "holdout = 0.05"]
    for section in ("instances", "labels", "features", "training", "gate"):
        lines += _toml(section, PIPELINE.model_dump(exclude_none=True)[section])
    path = folder / "small.toml"
    path.write_text("\n".join(lines))
    return str(path)


def _toml(name: str, table: dict[str, object]) -> list[str]:
    plain = [f"{k} = {json.dumps(v)}" for k, v in table.items() if not isinstance(v, dict)]
    nested = [_toml(f"{name}.{k}", v) for k, v in table.items() if isinstance(v, dict)]
    return [f"[{name}]", *plain, *(line for part in nested for line in part)]


def test_the_command_prints_one_result_and_returns_its_code(
    warehouse: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    common = ["--pipeline", pipeline_file(tmp_path), "--warehouse", str(warehouse)]
    codes, results = [], []
    for options in (["--dry-run"], ["--refresh", "sound"], ["--refresh", "nope"]):
        codes.append(main(common + options))
        (line,) = capfd.readouterr().out.splitlines()
        results.append(json.loads(line))
    assert codes == [0, 0, 2]
    assert [result["status"] for result in results] == ["planned", "done", "failed"]
    assert results[0]["refresh_id"] == "flipped"
    assert results[0]["files"] == 4
    assert "flipped, sound" in results[2]["error"]


def test_a_dry_run_makes_no_registry(tmp_path: Path) -> None:
    write_refresh(tmp_path, PIPELINE, "sound", random_rows(50), day=1)
    assert train_refresh(PIPELINE, str(tmp_path), dry_run=True)["status"] == "planned"
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.slow
def test_two_processes_may_make_the_registry_at_once(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")  # so that neither imports MLflow again
    both = [fork.Process(target=open_registry, args=(str(tmp_path), "a", "a")) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
