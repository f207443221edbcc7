"""The page of `monitor`, and which limits a day passes; from rows written out here."""

import re
from datetime import date, timedelta
from typing import Any

import pytest

from schemas.sections.monitor import Monitor
from spark_jobs.monitoring import events
from spark_jobs.monitoring.limits import Passed, passed
from spark_jobs.monitoring.page import PANELS, render, report_of
from spark_jobs.monitoring.performance import as_of, news
from tests.helpers.card_page import Page
from tests.helpers.performance_rows import CUT, DAY, row

# --- which rows are news ---


def test_the_newest_row_by_a_cut_is_what_is_known_there():
    early, late = row(cut=CUT - timedelta(days=2), loss=0.4), row()
    (found,) = as_of([late, early]).values()
    assert found is late
    (found,) = as_of([late, early], CUT - timedelta(days=1)).values()
    assert found is early
    assert as_of([late, early], CUT - timedelta(days=3)) == {}


@pytest.mark.parametrize(
    ("change", "is_news"),
    [
        ({}, False),
        ({"matured": 801}, True),
        ({"loss": 0.5 + 1e-9}, False),  # sums in another order
        ({"loss": 0.51}, True),
        ({"auc": None}, True),
        ({"sketch_drift": [0.1, -0.2]}, True),
        ({"level": "other"}, True),
    ],
)
def test_a_row_is_news_where_it_says_something_else(change, is_news):
    now = row(cut=CUT + timedelta(days=1)) | change
    assert news([now], as_of([row()])) == ([now] if is_news else [])


def test_law_2_a_row_of_this_very_cut_is_left_as_it_is():
    assert news([row(loss=0.6)], as_of([row()])) == []


# --- limits ---


@pytest.mark.parametrize(
    ("limits", "change", "names"),
    [
        ({}, {"loss": 9.0, "loss_low": 8.9}, []),
        ({"max_loss": 0.49}, {}, []),  # 0.48 to 0.52: not surely beyond
        ({"max_loss": 0.47}, {}, ["max_loss"]),
        ({"max_loss_gap": 0.05}, {"loss_gap": 0.1, "loss_gap_low": 0.06}, ["max_loss_gap"]),
        ({"max_loss_gap": 0.05}, {"loss_gap": None, "loss_gap_low": None}, []),
        ({"max_calibration_gap": 0.01}, {}, []),
        (
            {"max_calibration_gap": 0.1},
            {"calibration_ratio": 0.8, "calibration_ratio_high": 0.85},
            ["max_calibration_gap"],
        ),
        (
            {"max_calibration_gap": 0.1},
            {"calibration_ratio": 1.2, "calibration_ratio_low": 1.15},
            ["max_calibration_gap"],
        ),
        ({"min_coverage": 0.99}, {}, []),
        ({"min_coverage": 0.991}, {}, ["min_coverage"]),
        ({"min_coverage": 1.0}, {"instances": 0, "recorded": 0}, []),
        ({"max_drift": 0.015}, {}, ["max_drift"]),
        ({"max_drift": 0.005}, {}, ["max_drift", "max_drift"]),
        ({"max_drift": 0.005}, {"prediction_drift": None, "segment_drift": None}, []),
        ({"max_loss": 0.1, "min_rows": 801}, {}, []),
        ({"max_loss": 0.1}, {"segment": "shop", "level": "north"}, []),
    ],
)
def test_a_limit_is_passed_where_it_is_surely_beyond(limits, change, names):
    found = passed([row(**change)], Monitor(**limits), ["shop"])
    assert [one.limit for one in found] == [f"monitor.{name}" for name in names]


def test_a_limit_that_is_passed_is_told_with_its_numbers():
    (one,) = passed([row()], Monitor(max_drift=0.015), ["shop"])
    assert str(one) == (
        "2026-02-01, model version 1: drift of shop 0.02, monitor.max_drift is 0.015"
    )


# --- what happened ---


def test_a_version_serves_from_the_day_after_its_refresh():
    tags = {
        "1": {"ds": "2026-01-31", "promoted": "true"},
        "2": {"ds": "2026-02-01", "promoted": "true", "rolled_back": "true"},
        "3": {"ds": "2026-02-02"},
        "4": {"promoted": "true"},  # registered from elsewhere: of no day
    }
    assert events.promoted(tags) == [
        {"day": date(2026, 2, 1), "model_version": "1", "rolled_back": False},
        {"day": date(2026, 2, 2), "model_version": "2", "rolled_back": True},
    ]


# --- the page ---


@pytest.fixture
def report() -> dict[str, Any]:
    days = [row(DAY + timedelta(days=n), "1" if n < 10 else "2") for n in range(20)]
    days[-1] |= {"matured": 3, "auc": None, "auc_low": None, "auc_high": None}
    of_level = [
        one | {"segment": "shop", "level": level, "loss": 0.625}
        for one in days
        for level in ("<b>north</b>", "south")
    ]
    made = {"refresh_id": "r", "ds": DAY + timedelta(days=6), "policy": "calibrated"}
    made |= {"forward_passes": 9, "planned": 700, "spent": 690}
    first = made | {"ds": DAY, "policy": "bootstrap", "planned": None, "spent": 24_768}
    return report_of(
        [*days, *of_level],
        pipeline="shops",
        keys=["shop"],
        limits={"max_loss": 0.6, "max_drift": 0.2, "min_coverage": 0.9},
        refreshes=[first, made],
        promotions=events.promoted({"2": {"ds": "2026-02-10", "promoted": "true"}}),
    )


def test_the_page_is_whole_by_itself_and_its_tags_match(report):
    html = render(report, [])
    page = Page(html)
    assert page.open == []
    assert "http" not in html
    assert "<script" not in html
    assert not re.search(r"@import|url\((?!#)", html)
    plots = [attributes for tag, attributes in page.starts if tag == "svg"]
    assert len(plots) == len(PANELS) + 1  # with the backward passes
    ids = [attributes["id"] for _, attributes in page.starts if attributes.get("id")]
    assert len(ids) == len(set(ids))


def test_names_from_the_data_are_text(report):
    html = render(report, [Passed("monitor.max_loss", "2026-02-01", "<i>1</i>", "loss", 0.7, 0.6)])
    assert "<b>north" not in html
    assert "<i>" not in html
    assert "<b>north</b>" in Page(html).words


def test_segments_are_shown_of_the_newest_day_whose_labels_have_come(report):
    html = render(report, [])
    assert f"Segments on {DAY + timedelta(days=18)}, model version 2" in html
    assert 0.625 in Page(html).numbers


@pytest.mark.parametrize("matured", range(1, 26))
def test_a_single_day_has_as_many_labels_as_most(matured):
    """7 / 25 x 25 is more than 7 in doubles."""
    only = row(records=25, matured=matured)
    about = {"pipeline": "shops", "keys": [], "limits": {}, "refreshes": [], "promotions": []}
    assert report_of([only], **about)["newest"] == only


def test_promotions_refreshes_and_their_cost_stand_on_the_same_axis(report):
    words = Page(render(report, [])).words
    assert "2" in words
    assert {"planned", "spent", "backward passes"} <= set(words)
    # The first model's bar is cut at the height of the others, and bears its number.
    assert "24,768" in words


def test_the_verdict_is_that_of_the_last_run(report):
    assert "found no limit of [monitor] passed" in " ".join(render(report, []).split())
    one = Passed("monitor.max_loss", "2026-02-01", "1", "loss", 0.7, 0.6)
    assert str(one) in render(report, [one])


def test_a_regression_without_segments_and_refreshes_has_a_page_too():
    absent = ("expected_loss", "expected_loss_matured", "auc", "calibration_ratio")
    plain = row(**dict.fromkeys((*absent, "segment_drift", "sketch_drift")))
    about = {"keys": [], "limits": {}, "refreshes": [], "promotions": []}
    html = render(report_of([plain], pipeline="prices", **about), [])
    assert html.count("<svg") == 3


def test_equal_reports_give_equal_bytes(report):
    assert render(report, []) == render(report, [])
