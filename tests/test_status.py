"""`tenforward status` and the command that holds the subcommands."""

import json

import pytest

import tenforward
from tests.flights_loop import LOOPED, PIPELINE


def test_status_names_refreshes_their_models_and_the_champion(loop, capfd):
    root = loop["warehouse"].root
    assert tenforward.main(["status", "--pipeline", PIPELINE, "--warehouse", root]) == 0
    result = json.loads(capfd.readouterr().out)
    days = {row["ds"]: row for row in result["refreshes"] if row["policy"] == "calibrated"}
    for day, ran in zip(LOOPED, loop["days"], strict=True):
        assert days[str(day)]["sample_digest"] == ran["select"]["sample_digest"]
        assert days[str(day)]["versions"] == [ran["train"]["version"]]
    assert result["champion"] in {row["train"]["version"] for row in loop["days"]} | {"1"}


@pytest.mark.parametrize("name", list(tenforward.COMMANDS))
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as end:
        tenforward.main([name, "--help"])
    assert end.value.code == 0
    assert "--pipeline" in capsys.readouterr().out


def test_an_unknown_command_is_refused_with_the_known_ones(capsys):
    assert tenforward.main(["sekect"]) == 2
    assert "select" in capsys.readouterr().err
