"""A pipeline file changes between two days of the loop: every command goes on, and says so."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake

import tenforward
from inference.registered import find_champion
from schemas.bundle import read_card
from schemas.encoding import encoding_of
from schemas.errors import ConfigurationError
from schemas.inputs import columns_of, model_inputs
from spark_jobs.migrate import migrate
from spark_jobs.score import score_day
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers.changing import A_DAY, DAYS, looped, of, told, went_on, written
from tests.helpers.flights_loop import versions
from tests.helpers.small_warehouse import append, instances, labels
from trainer.data.reader import read_holdout
from trainer.data.refresh import newest_refresh, open_refresh
from trainer.features.held_out import Source, encoded
from trainer.train import train_refresh

RUNBOOK = Path(__file__).parents[1] / "docs" / "runbook.md"
FOURTH = DAYS[2].replace(day=4)


pytestmark = pytest.mark.slow  # a warehouse of its own, and every step over it again and again


@pytest.fixture(scope="module")
def base(spark, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The loop's warehouse before any change."""
    return Path(looped(tmp_path_factory.mktemp("changing") / "base").root)


@pytest.fixture
def root(base: Path, tmp_path: Path) -> str:
    return str(shutil.copytree(base, tmp_path / "warehouse"))


def all_at_once(file: dict[str, Any]) -> None:
    """A feature more, one less with its view, more buckets, another network and other segments."""
    file["instances"]["columns"]["gate"] = {"type": "string"}
    file["instances"]["segments"] = ["gate", "shop"]
    file["features"]["gate"] = {"kind": "category", "buckets": 4}
    file["features"]["shop"]["buckets"] = 16
    del file["features"]["width"]
    file["feature_views"] = []
    file["model"] = {"hidden": [32, 16]}


def recipe() -> list[str]:
    """The commands that the run book has for a changed pipeline."""
    block = re.search(
        r"## The pipeline changes\n.*?\n\n((?:    [^\n]*\n)+)", RUNBOOK.read_text(), re.DOTALL
    )
    assert block is not None
    return re.findall(r"^    tenforward ([^#\n]*?) *(?:#.*)?$", block[1], re.MULTILINE)


def run(line: str, capfd: pytest.CaptureFixture[str], **places: str) -> tuple[int, Any, str]:
    """Exit code, result and log of a line of the run book."""
    words = line.replace("--ds D", f"--ds {DAYS[2]}")
    for name, place in places.items():
        words = words.replace(f"${name}", place)
    code = tenforward.main(shlex.split(words))
    out, err = capfd.readouterr()
    return code, json.loads(out.splitlines()[-1]), err


@pytest.mark.nightly
def test_the_run_book_leads_through_every_change(
    root: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    places = {"P": written(of(all_at_once), tmp_path), "W": root}
    code, told, _ = run(f"score --pipeline $P --warehouse $W --ds {DAYS[2]}", capfd, **places)
    assert (code, "instances.segments = 'gate'" in told["error"]) == (2, True)
    code, told, _ = run("check --pipeline $P --warehouse $W --columns", capfd, **places)
    assert (code, "run `tenforward migrate`" in told["error"]) == (2, True)

    said = [(line.split()[0], *run(line, capfd, **places)) for line in recipe()]
    steps = ("validate", "migrate", "migrate", "check", "score", "select", "train")
    assert [(name, code) for name, code, *_ in said] == [(name, 0) for name in steps]
    (_, planned, _), (_, migrated, _), _, (_, scored, log), (_, selected, _), (_, trained, end) = (
        one[1:] for one in said[1:]
    )
    assert (planned["status"], migrated["status"]) == ("planned", "done")
    assert planned["steps"] == migrated["steps"]
    assert (scored["records"], scored["model_version"]) == (A_DAY, "1")
    assert "model shops version 1 was trained before the pipeline file changed" in log
    assert selected["rejected"] == 0
    assert trained["parent_version"] is None
    assert trained["started"] == (
        "from scratch: version 1 does not fit, its features differ (+gate, -width,"
        " shop (buckets 8 to 16))"
    )
    assert f"the training starts {trained['started']}" in end
    assert set(trained["metrics"]) == {"train", "challenger", "champion", "increase"}
    champion = find_champion("shops", root)
    assert champion is not None
    card = read_card(champion.folder)
    assert (champion.version, card.started) == ("2", trained["started"])
    assert card.encoding == encoding_of(of(all_at_once))

    warehouse = Warehouse(root, of(all_at_once))
    before = versions(warehouse)
    assert migrate(warehouse)["status"] == "already done"
    assert versions(warehouse) == before
    _records_of_both_models_are_drawn_from_together(warehouse)


def _records_of_both_models_are_drawn_from_together(warehouse: Warehouse) -> None:
    """Whose sketches differ in width, and whose segments in number."""
    asked = [row | {"gate": "a"} for row in instances([FOURTH], A_DAY)]
    append(warehouse, "instances", asked)
    append(warehouse, "labels", labels(asked))
    assert went_on(warehouse, FOURTH)["train"]["started"] == "from version 2"
    kept = warehouse.read("forward_records").collect()
    assert {len(row["sketch"]) for row in kept} == {4, 16}
    assert {len(row["segments"]) for row in kept} == {1, 2}


def test_held_out_rows_read_anew_without_spark_are_those_that_selection_wrote(base: Path) -> None:
    pipeline = of()
    refresh = open_refresh(str(base), pipeline, newest_refresh(str(base), pipeline))
    assert refresh.encoding == encoding_of(pipeline)
    anew = encoded(refresh.encoding, Source(str(base), refresh, pipeline))
    there = columns_of(model_inputs(pipeline), read_holdout(pipeline, refresh).rows.inputs)
    assert refresh.held_out > 20
    for name, column in there.items():
        np.testing.assert_array_equal(anew[name], column, err_msg=name)


def test_score_reads_what_its_model_was_trained_on(base: Path, tmp_path: Path) -> None:
    """Its answers of a day are those that it would have given with the file as it was."""
    change = (lambda file: (_without(file, "price"), _buckets(file)), None)
    answers = []
    for number, pipeline in enumerate(map(of, change)):
        warehouse = Warehouse(str(shutil.copytree(base, tmp_path / str(number))), pipeline)
        assert score_day(warehouse, DAYS[2])["records"] == A_DAY
        rows = warehouse.read("forward_records").where(f"event_date = '{DAYS[2]}'").collect()
        answers.append({row["instance_id"]: row["prediction"] for row in rows})
    assert answers[0] == answers[1]


def _without(file: dict[str, Any], feature: str) -> None:
    del file["features"][feature]


def _buckets(file: dict[str, Any]) -> None:
    file["features"]["shop"]["buckets"] = 5


def test_a_column_that_is_gone_from_storage_is_named(root: str) -> None:
    warehouse = Warehouse(root, of(lambda file: _without(file, "width")))
    table = Path(warehouse.path("features/shelves"))
    shutil.rmtree(table)
    with pytest.raises(ConfigurationError, match=r"table features/shelves .*not found"):
        score_day(warehouse, DAYS[2])
    write_deltalake(str(table), pa.table({"shop": ["north"]}))
    gone = "shelves.created, features/shelves.event_timestamp, features/shelves.width"
    with pytest.raises(ConfigurationError, match=f"model shops version 1: reads features/{gone}"):
        score_day(warehouse, DAYS[2])


def test_a_refresh_from_before_a_feature_came_is_not_trained_on(root: str) -> None:
    def gate(file: dict[str, Any]) -> None:
        file["instances"]["columns"]["gate"] = {"type": "string"}
        file["features"]["gate"] = {"kind": "category", "buckets": 4}

    with pytest.raises(ConfigurationError, match=r"before gate came .*select the day again"):
        train_refresh(of(gate), root)


def test_a_renamed_pipeline_takes_tables_manifests_and_models_along(
    root: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pipeline = of(lambda file: file.update(name="stores"))
    file = written(pipeline, tmp_path)
    assert told("status", file, root) == 2
    assert "tenforward migrate --from shops" in capfd.readouterr().out
    assert told("migrate", file, root) == 2
    assert "tenforward migrate --from shops" in capfd.readouterr().out
    assert told("migrate", file, root, "--from", "shops", "--dry-run") == 0
    planned = json.loads(capfd.readouterr().out)["steps"]
    assert told("status", file, root) == 2  # nothing was changed
    capfd.readouterr()
    assert told("migrate", file, root, "--from", "shops") == 0
    assert json.loads(capfd.readouterr().out)["steps"] == planned
    assert told("status", file, root) == 0
    status = json.loads(capfd.readouterr().out)
    assert (status["champion"], len(status["refreshes"])) == ("1", 2)
    assert told("migrate", file, root, "--from", "shops") == 0
    assert json.loads(capfd.readouterr().out)["status"] == "already done"
    assert told("train", file, root) == 0
    assert json.loads(capfd.readouterr().out)["parent_version"] == "1"


REFUSED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another kind": (
        lambda file: file["features"].update(shop={"kind": "number", "source": "shelves.height"}),
        r"table sampled, column shop: expected FLOAT, found INT.*add one of another name",
    ),
    "another type": (
        lambda file: file["instances"]["columns"].update(price={"type": "float64"}),
        r"table instances, column price: expected DOUBLE, found FLOAT.*keeps its type",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_tables_cannot_follow_is_refused_with_what_to_do(base: Path, case: str) -> None:
    change, words = REFUSED[case]

    def higher(file: dict[str, Any]) -> None:
        file["feature_views"][0]["columns"]["height"] = {"type": "float32"}
        change(file)

    with pytest.raises(ConfigurationError, match=words):
        migrate(Warehouse(str(base), of(higher)), dry_run=True)


def test_a_warehouse_without_tables_is_not_migrated(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"holds no table to migrate.*tenforward init"):
        migrate(Warehouse(str(tmp_path), of()), dry_run=True)
