"""`tenforward check` on rows: every kind of finding, from one warehouse that has them all."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas import findings
from schemas.errors import DataQualityError
from spark_jobs.check import check_rows
from tests.helpers import small_warehouse as small
from tests.helpers.flights_loop import versions

FIRST, SECOND, THIRD = small.DAYS
HOUR = timedelta(hours=1)
NAN = float("nan")


def spoilt() -> dict[str, list[small.Row]]:
    """Three days of tables with a fault of each kind."""
    asked = small.instances([FIRST, THIRD])
    recorded, told, shelves = small.records(asked), small.labels(asked), small.shelves()
    price, width = {"price": NAN}, {"width": float("inf")}
    asked += [
        asked[0],  # the same again
        {**asked[1], **price},
        {**asked[2], "event_time": asked[2]["event_time"] + timedelta(days=2), "event_date": THIRD},
        {**asked[3], "instance_id": "dated", "event_date": THIRD},
        {**asked[4], "instance_id": "later", "event_time": datetime(2099, 1, 1, tzinfo=UTC)},
        {**asked[5], "instance_id": None},
        {**asked[6], "instance_id": "nowhere", "shop": None},
    ]
    recorded[7] |= {"event_time": recorded[7]["event_time"] - 5 * HOUR}
    recorded[8] |= {"prediction": NAN}
    recorded[9] |= {"event_date": THIRD}
    recorded += [
        {**recorded[10], "instance_id": "orphan"},
        {**recorded[11], "prediction": 9.0},
    ]
    told[12] |= {"event_date": FIRST - timedelta(days=1)}
    told[13] |= {"known_at": told[13]["known_at"] - 5 * HOUR}
    told[14] |= {"sold": 0.5}
    told += [
        {**told[15], "sold": 1.0 - told[15]["sold"]},
        {**told[16], "instance_id": "stranger"},
        {**told[17], "instance_id": ""},
        {**told[18], "known_at": datetime(2099, 1, 1, tzinfo=UTC)},
    ]
    shelves += [{**shelves[0], "width": 7.0}, {**shelves[1], "shop": None}, {**shelves[5], **width}]
    return {"instances": asked, "records": recorded, "labels": told, "shelves": shelves}


# Of each kind: table, rows, ids.
FOUND = {
    ("instances", findings.REPEATED): (1, [f"{FIRST}/0"]),
    ("instances", findings.DIFFERS): (1, [f"{FIRST}/1"]),
    ("instances", findings.REUSED): (1, [f"{FIRST}/2"]),
    ("instances", findings.INSTANCE_DATE): (2, ["dated", "later"]),
    ("instances", findings.FUTURE): (1, ["later"]),
    ("instances", findings.NULL_KEY): (1, []),
    ("instances", findings.NULL_ENTITY): (1, ["nowhere"]),
    ("instances", findings.NAN): (1, [f"{FIRST}/1"]),
    ("instances", findings.NO_TRAFFIC): (1, []),
    ("forward_records", findings.RECORD_TIME): (1, [f"{FIRST}/7"]),
    ("forward_records", findings.ORPHAN): (1, ["orphan"]),
    ("forward_records", "not-finite"): (1, [f"{FIRST}/8"]),
    ("forward_records", "wrong-date"): (1, [f"{FIRST}/9"]),
    ("forward_records", "duplicate-differs"): (2, [f"{FIRST}/11"]),
    ("labels", findings.LABEL_DATE): (1, [f"{FIRST}/12"]),
    ("labels", findings.LABEL_EARLY): (1, [f"{FIRST}/13"]),
    ("labels", "bad-label"): (1, [f"{FIRST}/14"]),
    ("labels", "label-differs"): (2, [f"{FIRST}/15"]),
    ("labels", findings.LABEL_UNKNOWN): (1, ["stranger"]),
    ("labels", "missing"): (1, []),
    ("labels", findings.NULL_KEY): (1, []),
    ("labels", findings.FUTURE): (1, [f"{FIRST}/18"]),
    ("features/shelves", findings.CONTRADICTION): (2, ["north", "south"]),
    ("features/shelves", findings.NULL_KEY): (1, []),
    ("features/shelves", findings.NAN): (1, ["south"]),
}


@pytest.fixture(scope="module")
def told(spark, tmp_path_factory) -> dict[str, Any]:
    """What check says of it."""
    warehouse = small.filled(tmp_path_factory.mktemp("spoilt"), **spoilt())
    before = versions(warehouse)
    with pytest.raises(DataQualityError) as refused:
        check_rows(warehouse.pipeline, warehouse.root)
    assert versions(warehouse) == before
    return {"error": str(refused.value), **refused.value.details}


def test_law_7_every_kind_of_fault_is_found_and_none_that_is_not_there(told):
    found = {
        (one["table"], one.get("reason") or one["kind"]): (one["count"], one["ids"])
        for one in told["findings"]
        if "kind" in one
    }
    assert found == FOUND
    assert json.loads(json.dumps(told, default=str))["coverage"][0]["instances"] == 22


def test_the_error_names_table_kind_ids_and_remedy(told):
    line = next(line for line in told["error"].splitlines() if findings.RECORD_TIME in line)
    assert line.startswith("table forward_records, record-time: 1 records whose event_time")
    assert f"1 of them by about -5 hours ({FIRST}/7)" in line
    assert "Remedy: record the event_time of the instance, in UTC" in line


def test_a_sound_warehouse_has_no_finding_and_tells_its_figures(spark, tmp_path):
    warehouse = small.filled(tmp_path)
    told = check_rows(warehouse.pipeline, warehouse.root, FIRST, SECOND)
    assert told["status"] == "done"
    assert [one for one in told["findings"] if "kind" in one] == []
    assert [(one["day"], one["recorded"]) for one in told["coverage"]] == [
        (str(FIRST), 20),
        (str(SECOND), 20),
    ]
    assert told["label_delay_hours"]["median"] == pytest.approx(2.0)
