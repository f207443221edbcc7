"""Law 8: backward passes are counted as they are made, and told beside what pays for them."""

import json
import logging
import shutil
from dataclasses import asdict, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tenforward
from schemas.allowance import Allowance
from schemas.counted import COUNT, Account
from schemas.errors import ConfigurationError
from schemas.ledger import ledger_of, read_spent, within_28_days
from schemas.manifests import Manifest
from schemas.registry import mlflow_client
from tests.helpers.manifests import manifest_without_rows
from tests.helpers.pipeline_file import pipeline_file
from tests.helpers.trainer_tables import (
    empty_database,
    in_memory,
    random_rows,
    small_card,
    small_pipeline,
    write_refresh,
)
from trainer.fitting.fit import fit
from trainer.fitting.meter import Meter
from trainer.models.model import build_model
from trainer.processes.ranks import Ranks
from trainer.train import train_refresh

PIPELINE = small_pipeline(gate={"max_loss_increase": 0.05})
ROWS = 500
PLAN = Allowance(15_000, "earlier", backward_passes=3 * ROWS, epochs=3, pulls=1, carried=1.5)


def counted(root: Path, refresh: str = "r", purpose: str = "training") -> int:
    return read_spent(str(root)).get(refresh, {}).get(purpose, 0)


# --- a fit ---


class Counted(Meter):
    """A meter in memory."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.published: list[int] = []

    def add(self, rows: int) -> None:
        self.rows.append(rows)

    def publish(self) -> None:
        self.published.append(sum(self.rows))


def fitted(**training: Any) -> tuple[Counted, int]:
    """A fit of 500 rows in batches of 64; its meter, and the epochs that it took."""
    pipeline, meter = small_pipeline(training=training), Counted()
    model = build_model(small_card(pipeline), seed=1)
    rows = in_memory(pipeline, random_rows(ROWS, seed=4))
    history = fit(model, rows, "binary", pipeline.training, ranks=Ranks(), meter=meter)
    return meter, len(history.losses)


def test_every_row_of_every_epoch_counts():
    meter, epochs = fitted(epochs=3)
    assert (sum(meter.rows), epochs) == (3 * ROWS, 3)
    assert meter.rows[:8] == [64] * 7 + [52]


def test_a_fit_that_stops_early_counts_what_it_made_and_not_what_was_held_back():
    meter, epochs = fitted(epochs=40, patience=1, validation=0.2, learning_rate=0.1)
    an_epoch = sum(meter.rows) / epochs
    assert epochs < 40
    assert 0.7 * ROWS < an_epoch < 0.9 * ROWS
    assert an_epoch == int(an_epoch)


# --- a training ---


@pytest.fixture
def root(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A refresh "paid" of 500 rows that was drawn for three epochs, and a bootstrap."""
    shutil.copy(empty_database(tmp_path_factory.getbasetemp()), tmp_path / "mlflow.db")
    rows = random_rows(ROWS, seed=1)
    write_refresh(tmp_path, PIPELINE, "paid", rows, day=3, ledger=json.dumps(asdict(PLAN)))
    write_refresh(tmp_path, PIPELINE, "first", rows, day=1, policy="bootstrap")
    return tmp_path


def test_a_training_tells_what_it_cost_to_the_table_the_run_and_the_version(root):
    told = train_refresh(PIPELINE, str(root), "paid")
    ledger = {
        "forward_passes": PLAN.forward_passes,
        "backward_passes_planned": 3 * ROWS,
        "backward_passes_spent": 3 * ROWS,
    }
    assert told["ledger"] == ledger
    assert counted(root, "paid") == 3 * ROWS
    client = mlflow_client(str(root))
    run, version = client.get_run(told["run_id"]), client.get_model_version("small", "1")
    for name, count in ledger.items():
        assert run.data.metrics[f"ledger.{name}"] == count
        assert version.tags[f"ledger.{name}"] == str(count)


def test_what_a_training_is_for_decides_its_line(root):
    train_refresh(PIPELINE, str(root), "first")
    train_refresh(PIPELINE, str(root), "paid")
    train_refresh(PIPELINE, str(root), "paid", model_name="another")
    cost = 3 * ROWS
    assert read_spent(str(root)) == {
        "first": {"bootstrap": cost},
        "paid": {"training": cost, "twin": cost},
    }


def test_settings_that_spend_more_than_was_planned_are_refused_before_the_first_step(root):
    longer = small_pipeline(training={"epochs": 4})
    with pytest.raises(ConfigurationError, match=r"training\.epochs = 4, .* 2000 .* for 1500"):
        train_refresh(longer, str(root), "paid")
    assert counted(root, "paid") == 0
    train_refresh(longer, str(root), "paid", force=True)
    assert counted(root, "paid") == 2000


def test_a_twin_is_outside_the_plan(root):
    train_refresh(small_pipeline(training={"epochs": 4}), str(root), "paid", model_name="another")
    assert read_spent(str(root))["paid"] == {"twin": 2000}


def test_what_a_killed_training_spent_is_said_before_it_is_repeated(root, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("tenforward"), "propagate", True)
    unfinished = Account.new("paid", "2013-02-03", "training")
    (root / "spent").mkdir()
    (root / "spent" / "x").write_bytes(COUNT.pack(1200) + unfinished.file()[COUNT.size :])
    planned = train_refresh(PIPELINE, str(root), "paid", dry_run=True)
    names = ("backward_passes", "backward_passes_planned", "backward_passes_spent")
    assert [planned[name] for name in names] == [1500, 1500, 1200]
    with caplog.at_level("WARNING"):
        train_refresh(PIPELINE, str(root), "paid")
    assert "1500 backward passes were planned, 1200 have been spent, and this" in caplog.text
    assert counted(root, "paid") == 2700


def test_what_is_spent_again_is_said_and_counted(root, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("tenforward"), "propagate", True)
    train_refresh(PIPELINE, str(root), "paid")
    with caplog.at_level("WARNING"):
        train_refresh(PIPELINE, str(root), "paid", force=True)
    assert "1500 backward passes were planned, 1500 have been spent, and this" in caplog.text
    assert counted(root, "paid") == 3000


def test_every_pull_that_is_tried_counts(root):
    pulls = small_pipeline(training={"pulls": [0.0, 1.0]}, selection={"forward_days": 1})
    held = random_rows(400, seed=97) | {"forward": np.arange(400) >= 200}
    train_refresh(PIPELINE, str(root), "paid")
    write_refresh(root, pulls, "odd", random_rows(300, seed=2), held, day=5)
    planned = train_refresh(pulls, str(root), "odd", dry_run=True)
    train_refresh(pulls, str(root), "odd")
    assert planned["backward_passes"] == counted(root, "odd")
    assert counted(root, "odd") == 300 * 3 * 2


def test_a_dry_run_counts_the_one_fit_of_a_model_without_a_parent(root):
    pulls = small_pipeline(training={"pulls": [0.0, 1.0]}, selection={"forward_days": 1})
    planned = train_refresh(pulls, str(root), "paid", dry_run=True)
    train_refresh(pulls, str(root), "paid", force=True)  # the plan was for one pull
    assert planned["backward_passes"] == counted(root, "paid") == 1500


# --- status and show ---


def manifest(day: int, policy: str = "calibrated", allowance: Allowance | None = None) -> Manifest:
    ds = date(2013, 2, 1) + timedelta(days=day)
    name = f"{day}-{policy}"
    return manifest_without_rows(PIPELINE, ds, refresh_id=name, policy=policy, allowance=allowance)


def test_a_ledger_adds_up_what_is_known():
    paid = [
        replace(PLAN, forward_passes=count, backward_passes=count // 10) for count in (500, 700)
    ]
    made = [manifest(0, allowance=paid[0]), manifest(9, allowance=paid[1]), manifest(3)]
    made.append(manifest(0, "bootstrap"))
    spent = {
        "0-calibrated": {"training": 50, "twin": 999},
        "9-calibrated": {"training": 130},
        "3-calibrated": {"training": 77},
        "0-bootstrap": {"bootstrap": 4000},
    }
    assert ledger_of(made, spent) == {
        "forward_passes": 1200,
        "backward_passes_planned": 120,
        "backward_passes_spent": 180,
        "spent_per_forward_pass": 0.15,
        "refreshes": 2,
        "unknown_refreshes": 1,
    }
    assert ledger_of([manifest(3)], spent)["spent_per_forward_pass"] is None
    assert ledger_of([], spent)["forward_passes"] is None


def test_28_days_are_those_up_to_a_day():
    made = [manifest(day, allowance=PLAN) for day in (0, 1, 28, 29)]
    assert within_28_days(made, date(2013, 3, 1)) == made[1:3]


def test_status_and_show_have_the_ledger(root, tmp_path, capfd):
    train_refresh(PIPELINE, str(root), "first")
    train_refresh(PIPELINE, str(root), "paid")
    where = ["--pipeline", pipeline_file(tmp_path, PIPELINE), "--warehouse", str(root)]
    expected = {
        "forward_passes": 15_000,
        "backward_passes_planned": 1500,
        "backward_passes_spent": 1500,
        "spent_per_forward_pass": 0.1,
    }
    for words in (["status"], ["show", "paid"]):
        capfd.readouterr()
        assert tenforward.main([*words, *where]) == 0
        out, err = capfd.readouterr()
        result = json.loads(out)
        for name in ("ledger", "ledger_28_days"):
            assert {key: result[name][key] for key in expected} == expected
        assert "15,000 forward passes, 1,500 backward passes planned, 1,500 spent, 0.1 for" in err
    capfd.readouterr()
    tenforward.main(["status", *where])
    assert json.loads(capfd.readouterr().out)["beside"] == {
        "bootstrap": 1500,
        "twin": 0,
        "study": 0,
    }
