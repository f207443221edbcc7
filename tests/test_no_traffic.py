"""A day on which nothing was asked is skipped; one whose instances have not come is not."""

from datetime import timedelta
from pathlib import Path

import pytest

from schemas.errors import NoDataError
from spark_jobs import backfill
from spark_jobs.days.planned import without_traffic
from spark_jobs.days.told import line_of, plan_line, summary_table
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers import small_warehouse as small

FIRST, QUIET, LAST = small.DAYS
AFTER = LAST + timedelta(days=1)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Instances on two of three days."""
    folder: Path = tmp_path_factory.mktemp("quiet")
    return small.filled(folder, instances=small.instances([FIRST, LAST]))


def test_it_has_days_with_traffic_on_both_sides():
    counts = {FIRST: 20, QUIET: 0, LAST: 20}
    assert [day for day in (FIRST, QUIET, LAST, AFTER) if without_traffic(counts, day)] == [QUIET]
    assert not without_traffic({}, QUIET)


def test_a_backfill_skips_it_with_all_its_steps(warehouse):
    [planned] = backfill.plan(warehouse, QUIET, QUIET)
    assert planned["without_traffic"]
    assert "no traffic, to skip" in plan_line(planned)
    [done] = backfill.backfill(warehouse, QUIET, QUIET)
    assert list(done) == ["ds", "score"]
    assert done["score"]["status"] == "nothing to do"
    assert "skipped: no instances on that UTC date" in line_of(done)
    assert summary_table([done])[1].endswith("no traffic")
    assert backfill.summary("shops", [done])["status"] == "done"


def test_a_day_that_is_not_there_yet_fails(warehouse):
    with pytest.raises(NoDataError, match=f"--ds = {AFTER}: no instances on that UTC date"):
        backfill.STEPS["score"](warehouse, AFTER)
