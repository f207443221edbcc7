"""Records without an instance are rejects before anything is drawn; many of them, and none is."""

from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.errors import DataQualityError
from spark_jobs.select_sample import select_day
from tests.helpers import small_warehouse as small
from tests.helpers.flights_loop import versions

LAST = small.DAYS[-1]


def without(ids: set[str], **selection: Any) -> dict[str, Any]:
    """Tables whose records and labels are whole, and of which some instances are not there."""
    rows = small.instances()
    kept = [row for row in rows if row["instance_id"] not in ids]
    return {
        "of": small.pipeline(
            selection={"window_days": 3, "budget": 0.5, "policy": "grad-norm", **selection}
        ),
        "instances": kept,
        "records": small.records(rows),
        "labels": small.labels(rows),
    }


@pytest.mark.slow
@pytest.mark.nightly
def test_a_record_without_an_instance_is_a_reject_and_the_others_are_drawn_without_it(
    spark, tmp_path
):
    gone = {f"2026-02-02/{number}" for number in range(5)}
    warehouse = small.filled(tmp_path, **without(gone, max_reject_share=0.2))
    told = select_day(warehouse, LAST)
    rejects = warehouse.read("forward_rejects").toArrow().to_pylist()
    assert {one["reason"] for one in rejects} == {"no-instance"}
    refused = {one["instance_id"] for one in rejects}
    assert refused <= gone  # held-out ones are not drawn from
    assert told["rejects"] == {"no-instance": len(refused)}
    candidates = warehouse.read("selection_probabilities").toArrow()["instance_id"].to_pylist()
    assert not gone & set(candidates)
    assert warehouse.read("sampled").count() == told["drawn"]


def test_law_7_too_many_of_them_refuse_the_refresh_before_a_table_is_written(spark, tmp_path):
    gone = {f"2026-02-02/{number}" for number in range(10)}
    warehouse = small.filled(tmp_path, **without(gone))
    before = versions(warehouse)
    with pytest.raises(DataQualityError, match=r"no-instance \d+; they are in forward_rejects"):
        select_day(warehouse, LAST)
    after = versions(warehouse)
    assert {name for name in after if after[name] != before[name]} == {"forward_rejects"}


def test_labels_without_an_instance_or_without_an_id_are_counted(spark, tmp_path):
    rows = small.labels(small.instances())
    nobody = [
        {**rows[0], "instance_id": None},
        {**rows[1], "instance_id": ""},
        {**rows[2], "instance_id": "somebody", "known_at": datetime(2026, 2, 2, tzinfo=UTC)},
    ]
    pipeline = small.pipeline(selection={"window_days": 3, "max_reject_share": 0.1})
    warehouse = small.filled(tmp_path, of=pipeline, labels=[*rows, *nobody])
    told = select_day(warehouse, LAST)
    assert told["rejects"] == {"missing": 2}
    assert told["data"]["label-without-instance"] == {"rows": 1, "ids": ["somebody"]}
