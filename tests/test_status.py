"""`tenforward status` and the command that holds the subcommands."""

import json

import pytest

import tenforward
from schemas.manifests import read_manifests
from tests.helpers.flights_loop import LOOPED, PIPELINE
from tests.helpers.trainer_tables import random_rows, small_pipeline, write_refresh
from trainer.data.reader import read_sampled
from trainer.data.refresh import open_refresh


def test_status_names_refreshes_their_models_and_the_champion(loop, capfd):
    root = loop["warehouse"].root
    assert tenforward.main(["status", "--pipeline", PIPELINE, "--warehouse", root]) == 0
    result = json.loads(capfd.readouterr().out)
    days = {row["ds"]: row for row in result["refreshes"] if row["policy"] == "calibrated"}
    for day, ran in zip(LOOPED, loop["days"], strict=True):
        assert days[str(day)]["sample_digest"] == ran["select"]["sample_digest"]
        assert days[str(day)]["versions"] == [ran["train"]["version"]]
        gate = "passed" if ran["train"]["promoted"] else "failed"
        assert days[str(day)]["gates"] == {ran["train"]["version"]: gate}
    assert result["champion"] in {row["train"]["version"] for row in loop["days"]} | {"1"}


def test_show_follows_a_refresh_from_its_inputs_to_its_model(loop, capfd):
    where = ["--pipeline", PIPELINE, "--warehouse", loop["warehouse"].root]
    selected, trained = loop["days"][1]["select"], loop["days"][1]["train"]
    assert tenforward.main(["show", selected["refresh_id"], *where]) == 0
    out, err = capfd.readouterr()
    shown = json.loads(out)
    assert shown["sample_digest"] == selected["sample_digest"]
    assert shown["report_card"] == selected["report_card"]
    assert shown["sampled_version"] == selected["sampled"]["version"]
    assert {"forward_records", "labels", "instances"} <= set(shown["input_versions"])
    assert shown["input_versions"] == {at["table"]: at["version"] for at in selected["inputs"]}
    [sampled, _] = trained["inputs"]
    assert sampled == {"table": "sampled"} | selected["sampled"]
    [model] = shown["models"]
    told = ("version", "run_id", "promoted")
    assert [model[name] for name in told] == [trained[name] for name in told]
    assert model["gate_reason"] == trained["reason"]
    assert model["of_this_sample"]
    assert model["metrics"]["challenger.loss"] == trained["metrics"]["challenger"]["loss"]
    assert f"model version {trained['version']}, run {trained['run_id']}" in err


def test_show_refuses_a_refresh_that_is_not_there(loop, capfd):
    where = ["--pipeline", PIPELINE, "--warehouse", loop["warehouse"].root]
    assert tenforward.main(["show", "2013-01-08-nothing", *where, "--json"]) == 3
    assert "tenforward status" in json.loads(capfd.readouterr().out)["error"]


@pytest.mark.parametrize("name", list(tenforward.COMMANDS))
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as end:
        tenforward.main([name, "--help"])
    assert end.value.code == 0
    takes = {"new": "NAME", "from-feast": "REPO"}.get(name, "--pipeline")
    assert takes in capsys.readouterr().out


def test_an_unknown_command_is_refused_with_the_known_ones(capsys):
    assert tenforward.main(["sekect"]) == 2
    assert "select" in capsys.readouterr().err


def test_a_warehouse_may_have_a_space_in_its_path(tmp_path):
    root, pipeline = tmp_path / "our tables", small_pipeline()
    root.mkdir()
    write_refresh(root, pipeline, "r", random_rows(100, seed=1))
    assert [one.refresh_id for one in read_manifests(str(root / "refreshes"))] == ["r"]
    assert len(read_sampled(pipeline, open_refresh(str(root), pipeline, "r"))) == 100
