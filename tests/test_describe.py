"""`tenforward describe`: what each table needs, from the definitions that the jobs use."""

import json

import pytest

import tenforward
from console.describe import describe
from schemas.pipeline import load_pipeline
from schemas.tables import all_tables

FLIGHTS = load_pipeline("pipelines/flights.toml")


def test_every_table_with_whoever_fills_it() -> None:
    told = describe(FLIGHTS)
    filled = {one["table"]: one["filled_by"] for one in told["tables"]}
    assert set(filled) == set(all_tables(FLIGHTS)) == set(told["columns"])
    assert [name for name, who in filled.items() if who == "you"] == [
        "features/weather",
        "features/planes",
        "features/carrier_lateness",
        "features/origin_lateness",
        "features/route_lateness",
        "instances",
        "labels",
    ]


def test_a_column_in_the_words_of_spark_and_arrow() -> None:
    told = describe(FLIGHTS, "features/weather")
    assert [one["table"] for one in told["tables"]] == ["features/weather"]
    columns = {one["column"]: one for one in told["columns"]["features/weather"]}
    assert columns["published_at"] == {
        "column": "published_at",
        "spark": "TIMESTAMP",
        "arrow": "timestamp[us, tz=UTC]",
        "may_be_null": False,
        "meaning": "When they became known, UTC.",
    }
    assert columns["temp"]["meaning"] == "Fahrenheit."
    assert columns["temp"]["may_be_null"]


def test_an_unknown_table_is_refused_with_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = ["describe", "--pipeline", "pipelines/flights.toml", "--table", "wether"]
    assert tenforward.main(line) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert "--table = 'wether'" in error
    assert "features/weather" in error
