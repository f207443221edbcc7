"""A challenger before the gate by all traffic: measured on the drawn rows of a later refresh, kept
in the registry, judged by `register --version`."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from schemas.all_traffic import AllTraffic, SegmentOfTraffic
from schemas.errors import ConfigurationError
from schemas.registry import CHAMPION, mlflow_client
from schemas.sections.gate import Gate
from spark_jobs import estimate
from spark_jobs.estimation.all_traffic import by_segment, measured, with_increases
from spark_jobs.estimation.estimate import Known, known_of
from tests.helpers.flights_loop import PIPELINE
from trainer import register
from trainer.promotion.all_traffic import DRAWN, assessment, require_version
from trainer.promotion.assess import assess
from trainer.promotion.gate import decide
from trainer.promotion.registry import open_registry
from trainer.rollback import rollback


def rows(count: int, share: float, seed: int) -> pa.Table:
    """Answers of three models to rows of two segments, known where drawn."""
    random = np.random.default_rng(seed)
    label = (random.random(count) < 0.3).astype(float)
    drawn = random.random(count) < share
    columns: dict[str, Any] = {
        "segment origin": np.where(random.random(count) < 0.2, "JFK", "EWR"),
        "label": label,
        "loss": random.random(count),
        "probability": np.full(count, share),
        "drawn": drawn,
    }
    for of, noise in (("challenger", 0.5), ("champion", 0.6), ("anchor", 0.9)):
        logit = 2 * label - 1.5 + noise * random.standard_normal(count)
        columns[f"{of}_logit"] = logit
        columns[f"{of}_judged"] = np.where(drawn, np.logaddexp(0, logit) - label * logit, np.nan)
        columns[f"{of}_predicted"] = np.where(drawn, 1 / (1 + np.exp(-logit)), np.nan)
        columns[f"{of}_observed"] = np.where(drawn, label, np.nan)
    return pa.table(columns)


def test_where_every_row_is_drawn_it_is_what_the_gate_measures_on_held_out_rows() -> None:
    table = rows(4000, 1.0, seed=1)
    logits = {of: table[f"{of}_logit"].to_numpy() for of in ("challenger", "champion", "anchor")}
    wanted = assess(
        "binary",
        logits["challenger"],
        logits["champion"],
        table["label"].to_numpy(),
        anchor=logits["anchor"],
        segments={"origin": table["segment origin"].to_numpy()},
    )
    found = assessment(traffic(table))
    assert found.rows == wanted.rows
    for side in ("challenger", "champion", "increase", "anchor", "anchor_increase"):
        own, other = getattr(found, side), getattr(wanted, side)
        assert own["loss"].value == pytest.approx(other["loss"].value, abs=1e-9), side
    ratio = found.challenger["calibration_ratio"].value
    assert ratio == pytest.approx(wanted.challenger["calibration_ratio"].value, abs=1e-9)
    for own, other in zip(found.segments, wanted.segments, strict=True):
        assert (own.segment, own.level, own.rows) == (other.segment, other.level, other.rows)
        for name in ("loss", "increase", "anchor_increase", "calibration_ratio"):
            assert getattr(own, name).value == pytest.approx(getattr(other, name).value, abs=1e-9)


def known(table: pa.Table) -> Known:
    return with_increases(known_of(table, ["loss"]))


def traffic(table: pa.Table) -> AllTraffic:
    return AllTraffic(
        refresh_id="r",
        challenger="2",
        champion="1",
        anchor="0",
        confidence=0.95,
        loss="log",
        rows=table.num_rows,
        drawn=int(np.sum(table["drawn"].to_numpy())),
        measured=measured(known(table), 0.95),
        segments=by_segment(known(table), ["origin"], 0.95),
    )


def test_a_tenth_of_the_rows_says_what_all_of_them_do_and_survives_the_registry() -> None:
    """The increase of the loss over all rows lies in its interval in at least 185 of 200 draws: at
    95 % some 190 do, with a standard deviation of 3."""
    held = 0
    for seed in range(200):
        table = rows(1000, 0.1, seed)
        judged = {
            of: np.logaddexp(0, table[f"{of}_logit"].to_numpy())
            - table["label"].to_numpy() * table[f"{of}_logit"].to_numpy()
            for of in ("challenger", "champion")
        }
        truth = float(np.mean(judged["challenger"] - judged["champion"]))
        _, low, high = measured(known(table), 0.95)["increase"]["loss"]
        held += low <= truth <= high
    assert held >= 185, held
    found = traffic(rows(1000, 0.1, 1))
    none = SegmentOfTraffic(
        segment="origin",
        level="LGA",
        drawn=0,
        loss=(math.nan, math.nan, math.nan),
        increase=None,
        anchor_increase=None,
        calibration_ratio=None,
    )
    found = found.model_copy(update={"segments": [*found.segments, none]})
    again = AllTraffic.model_validate_json(found.model_dump_json())
    assert repr(again) == repr(found)


def test_the_gates_limits_hold_on_drawn_rows_in_its_words() -> None:
    found = assessment(traffic(rows(4000, 0.5, seed=2)))
    passed = decide({DRAWN: found}, Gate(max_loss_increase=0.01), "anchor version 0")
    assert passed.passed
    assert f"on {found.rows} drawn rows, champion " in passed.reason
    worse = found.__class__(**{**found.__dict__, "increase": found.anchor_increase})
    few = decide({DRAWN: worse}, Gate(min_rows=10**6))
    assert (few.passed, few.reason) == (False, f"{found.rows} drawn rows, gate.min_rows is 1000000")
    calibrated = Gate(max_calibration_gap=1e-6, bound="upper")
    assert "predicted to observed on drawn rows" in decide({DRAWN: found}, calibrated).reason


# --- the commands, on the two days of the loop ---


@pytest.fixture
def warehouse(loop: dict[str, Any], tmp_path: Path) -> str:
    """A copy in which the first version serves, so that the second is a challenger."""
    from mlflow.tracking._tracking_service import utils

    root = str(shutil.copytree(loop["warehouse"].root, tmp_path / "warehouse"))
    utils._artifact_repos_cache.clear()  # a process that opened the original keeps its places
    rollback("flights", "flights", root, to="1")
    for version in ("2", "3"):
        mlflow_client(root).delete_model_version_tag("flights", version, "rolled_back")
    return root


def told(
    job: Callable[[list[str]], int], capfd: pytest.CaptureFixture[str], root: str, *arguments: str
) -> tuple[int, dict[str, Any]]:
    code = job(["--pipeline", PIPELINE, "--warehouse", root, *arguments])
    return code, json.loads(capfd.readouterr().out)


def test_a_version_is_judged_by_a_later_refresh_and_serves(
    loop: dict[str, Any], warehouse: str, capfd: pytest.CaptureFixture[str]
) -> None:
    second = loop["days"][1]["select"]["refresh_id"]
    again = "--version", "2", "--refresh", second
    code, found = told(register.main, capfd, warehouse, *again)
    assert (code, "not measured on that refresh. Remedy: `tenforward est" in found["error"]) == (
        2,
        True,
    )
    ask = "--refresh", second, "--challenger", "2", "--for-gate"
    code, measured_now = told(estimate.main, capfd, warehouse, *ask)
    assert code == 0
    assert (measured_now["champion"], measured_now["anchor"]) == ("1", None)
    assert set(measured_now["for_gate"]) == {"challenger", "champion", "increase"}
    value, low, high = measured_now["for_gate"]["increase"]["loss"]
    assert low < value < high
    code, planned = told(register.main, capfd, warehouse, *again, "--dry-run")
    assert (code, planned["status"]) == (0, "planned"), planned
    assert champion(warehouse) == "1"
    code, done = told(register.main, capfd, warehouse, *again)
    assert (done["promoted"], done["reason"]) == (planned["passed"], planned["reason"])
    assert f"increase {value:+.5f} [{low:+.5f}, {high:+.5f}]" in done["reason"]
    assert champion(warehouse) == ("2" if done["promoted"] else "1")
    tags = mlflow_client(warehouse).get_model_version("flights", "2").tags
    assert tags["gate"] == ("passed" if done["promoted"] else "failed")


def champion(warehouse: str) -> str:
    client = mlflow_client(warehouse)
    return str(client.get_model_version_by_alias("flights", CHAMPION).version)


def test_what_cannot_be_judged_so_is_refused(
    loop: dict[str, Any], warehouse: str, capfd: pytest.CaptureFixture[str]
) -> None:
    second = loop["days"][1]["select"]["refresh_id"]
    ask = "--refresh", second, "--challenger"
    code, found = told(estimate.main, capfd, warehouse, *ask, "1", "--for-gate")
    assert (code, "it serves already" in found["error"]) == (2, True)
    code, found = told(estimate.main, capfd, warehouse, *ask, "3", "--for-gate")
    assert (code, "version 3: it learnt from" in found["error"]) == (2, True)
    code, found = told(register.main, capfd, warehouse, "--version", "9", "--refresh", second)
    assert (code, "no such version. Remedy: choose one of 1, 2, 3" in found["error"]) == (2, True)
    code, found = told(register.main, capfd, warehouse, "--refresh", second)
    assert (code, "--model, --version: one of them" in found["error"]) == (2, True)
    registry = open_registry(warehouse, "flights", "flights")
    registry.client.set_model_version_tag("flights", "2", "rolled_back", "true")
    with pytest.raises(ConfigurationError, match=r"it was rolled back from\. Remedy: `tenforward"):
        require_version(registry, "2")
