"""`make torture` at a size that every change can pay for, and what it would notice.

The loop without Spark and Airflow: a server that records, trainings on one process and on two.
"""

import copy
import json
from typing import Any

import pytest

from tests.torture.__main__ import main
from tests.torture.facts import differences

FACTS: dict[str, Any] = {
    "tables": {"sampled": ["a1", 100], "forward_records": ["b2", 600]},
    "twice": {},
    "models": [
        {
            "model": "small 1",
            "serves": True,
            "tags": {"refresh_id": "first"},
            "files": {"weights.safetensors": "c3"},
        }
    ],
    "left": [],
}


@pytest.mark.slow
@pytest.mark.nightly
def test_law_2_after_each_kill_a_repeat_leaves_what_no_kill_leaves(tmp_path, capsys) -> None:
    code = main(["--loop", "small", "--kills", "3", "--seed", "7", "--folder", str(tmp_path)])
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == 0, told
    assert told[-1]["kills"] == told[-1]["as_undisturbed"] >= 3
    assert sum(told[-1]["by_victim"].values()) == told[-1]["kills"]


def changed(*path: Any, to: Any) -> dict[str, Any]:
    """The facts with another value at a place."""
    facts = copy.deepcopy(FACTS)
    there: Any = facts
    for key in path[:-1]:
        there = there[key]
    there[path[-1]] = to
    return facts


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (changed("tables", "sampled", to=["a1", 99]), "table sampled"),
        (changed("tables", "sampled", to=["a2", 100]), "table sampled"),
        (changed("tables", "more", to=["d4", 1]), "table more"),
        (changed("twice", "sampled", to=1), "1 rows stand there twice, 0 may"),
        (changed("twice", "forward_records", to=5), "5 rows stand there twice, 4 may"),
        (changed("models", 0, "files", "weights.safetensors", to="c4"), "model: "),
        (changed("models", 0, "serves", to=False), "model: "),
        (changed("models", 0, "tags", "refresh_id", to="other"), "model: "),
        (changed("models", to=[]), "model: None"),
        (changed("models", to=FACTS["models"] * 2), "undisturbed None"),
        (changed("left", to=["journal/a.journal"]), "left behind"),
    ],
)
def test_a_lost_a_doubled_and_another_thing_are_told(found: dict[str, Any], words: str) -> None:
    [line] = differences(found, FACTS, twice=4)
    assert words in line


def test_a_request_that_was_not_answered_may_stand_there_twice() -> None:
    assert differences(changed("twice", "forward_records", to=4), FACTS, twice=4) == []
    assert differences(copy.deepcopy(FACTS), FACTS, twice=0) == []
