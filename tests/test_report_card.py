"""The report card: every number of a refresh on one page, with verdicts, that opens anywhere."""

import json
import re
import subprocess
import sys
import zipfile
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from schemas.manifests import Inputs, Manifest, Part, RowCounts
from spark_jobs.report import card as report_card
from spark_jobs.report import plots as report_plots
from spark_jobs.report import tables as report_tables
from spark_jobs.report.card import current_card, render, write_card
from spark_jobs.report.checks import checks
from spark_jobs.selection.draw import selection_of
from tests.helpers.card_page import Page, numbers
from tests.helpers.logged_records import binary_records

ROOT = Path(report_card.__file__).parents[2]
BOOTSTRAP = {"candidates": 900, "budget": 900, "drawn": 900, "sum_probability": 900.0}
LINEAGE = {
    "records": 5100,
    "unmatured_records": 77,
    "refresh_id": "2013-02-07-calibrated-1a2b3c4d",
    "window": ["2013-02-01", "2013-02-07"],
    "seed": 4711,
    "input_versions": {"forward_records": 14, "features/weather": 3},
    "sample_digest": "5eed" * 16,
}


@pytest.fixture(scope="module")
def drawn() -> dict[str, Any]:
    selection = selection_of(binary_records(5000), policy="calibrated", budget=0.1, seed=7)
    return json.loads(json.dumps({**selection.report, **LINEAGE}))


@pytest.fixture(scope="module")
def mixed() -> dict[str, Any]:
    return selection_of(binary_records(3000), policy="mixture", budget=0.1, seed=7).report


@pytest.fixture
def report(drawn) -> dict[str, Any]:
    return deepcopy(drawn)


def test_every_number_of_the_report_is_on_the_page(report):
    page = Page(render(report))
    words = {"policy", "seed", "input_versions", "calibration"}
    wanted = numbers({k: v for k, v in report.items() if k not in words})
    wanted += numbers(report["calibration"]["gaps"])
    assert len(wanted) > 80
    assert [n for n in wanted if n not in page.numbers] == []
    gap = report["mean_loss_drawn"] - report["mean_loss"]
    sum_of_weights = report["mean_weight"] * report["drawn"] / report["budget"]
    assert {gap, sum_of_weights, report["budget"] / report["candidates"]} <= page.numbers


def test_lineage_is_on_the_page(report):
    page = Page(render(report))
    assert {report["refresh_id"], "4711", "5eed" * 16, "14", "3"} <= set(page.words)
    assert {"2013-02-01 to 2013-02-07", "features/weather, version"} <= set(page.words)


def test_a_mixture_shows_the_weights_it_used_and_leaves(mixed):
    page = Page(render({**mixed, "mixture": {**mixed["mixture"], "from": "the-one-before"}}))
    assert set(numbers(mixed["mixture"])) <= page.numbers
    assert any("the-one-before" in words for words in page.words)
    assert "Mixture" in Page(render(mixed)).words


def test_the_page_is_whole_by_itself_and_its_tags_match(report):
    html = render(report)
    page = Page(html)
    assert page.open == []
    assert "http" not in html
    assert "<script" not in html
    for tag, attributes in page.starts:
        assert tag not in ("link", "img", "iframe", "object", "embed")
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
    assert not re.search(r"@import|url\((?!#)", html)


def test_plots_are_labelled_and_share_no_id(report):
    page = Page(render(report))
    plots = [attributes for tag, attributes in page.starts if tag == "svg"]
    assert len(plots) == len(report_card.PANELS)
    assert all(plot["role"] == "img" and plot["aria-label"] for plot in plots)
    ids = [attributes["id"] for _, attributes in page.starts if attributes.get("id")]
    assert len(ids) == len(set(ids))


def test_equal_reports_give_equal_bytes_in_any_process(report):
    first = render(report)
    assert render(report) == first
    code = (
        "import json, sys; from spark_jobs.report.card import render;"
        "sys.stdout.buffer.write(render(json.load(sys.stdin)).encode())"
    )
    again = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(report).encode(), cwd=ROOT, check=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert again.stdout.decode() == first


def test_rendering_leaves_the_settings_of_matplotlib_alone(report):
    before = dict(report_plots.matplotlib.rcParams)
    render(report)
    assert dict(report_plots.matplotlib.rcParams) == before


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x>',
    "$x_{",
    "a&b",
    "",
    "a\nb",
    "航空",
    "x" * 99,
)


def test_names_from_the_data_are_text(report):
    line = report["segments"][0]
    report["segments"] = [line | {"level": name, "segment": name} for name in HOSTILE]
    report["versions"] = dict.fromkeys(HOSTILE, report["versions"][""])
    report["input_versions"] = dict.fromkeys(HOSTILE, 1)
    report["refresh_id"] = report["sample_digest"] = HOSTILE[1]
    report["calibration"]["gaps"] = dict(zip(HOSTILE, range(9), strict=False))
    report["calibration"]["largest_gap_column"] = HOSTILE[0]
    page = Page(render(report))
    assert not {"script", "img"} & {tag for tag, _ in page.starts}
    assert {name or "(empty)" for name in HOSTILE} <= set(page.words)


def test_calibration_columns_bear_the_names_of_the_segment_keys(report):
    for line in report["segments"]:
        line["segment"] = {"segment0": "origin", "segment1": "carrier"}[line["segment"]]
    assert {"residual x origin=EWR", "residual x carrier=WN"} <= set(Page(render(report)).words)


def test_calibration_lists_the_largest_relative_gap_first_and_what_was_left_out(report):
    found = report["calibration"]
    found["relative_gaps"] = dict.fromkeys(found["gaps"], 0.001) | {"one": -0.04}
    found["left_out"] = ["segment1"]
    table = report_tables.calibration(report)
    assert [cell.exact for cell in table.rows[0]] == [None, repr(found["gaps"]["one"]), "-0.04"]
    assert table.rows[-1][0].text == "left out: segment1"
    assert {0.001, -0.04} <= Page(render(report)).numbers


def test_a_bootstrap_refresh_has_a_card_of_what_it_knows():
    for report in (BOOTSTRAP, {**BOOTSTRAP, **LINEAGE}):
        page = Page(render(report))
        assert page.open == []
        assert 900.0 in page.numbers
        assert "✓ Sound" in page.words


def test_a_sound_sample_gets_no_warning(report):
    found = checks(report)
    assert [check.status for check in found] == ["good"] * 6
    assert "✓ Sound" in Page(render(report)).words


def test_rows_weighted_for_records_that_know_the_label_say_what_they_stand_for(report):
    report["policy"]["weighting"] = "inverse"
    found = {check.title: check for check in checks(report | {"in_sample": 1234})}["Stands for"]
    assert (found.value, found.status) == ("all candidates", "good")
    assert "answered 1,234 candidates may have learnt from them. So all rows" in found.sentence


def test_a_refresh_says_what_its_forward_passes_pay_for(report):
    paid = {
        "forward_passes": 10_000,
        "predecessor": "2013-01-31-calibrated-1a2b3c4d",
        "backward_passes": 1000,
        "epochs": 2,
        "pulls": 1,
        "carried": 0.0,
    }
    found = {check.title: check for check in checks(report | {"ledger": paid})}
    tile = found["Backward passes planned"]
    assert (tile.value, tile.status) == ("0.1 a forward pass", "counted")
    assert "2 times each, for 10,000 new forward passes since 2013-01-31" in tile.sentence
    assert "Counted" in Page(render(report | {"ledger": paid})).words


EMPTY_LEVEL = {"level": "ZZ", "candidates": 50, "drawn": 0, "loss_gap": None}


@pytest.mark.parametrize(
    ("title", "change"),
    [
        ("Rows drawn", {"drawn": 499}),
        ("Mean-loss gap", {"mean_loss_gap_z": -4.1}),
        ("Mean-loss gap", {"mean_loss_gap_z": 4.1, "design_exact": False}),
        ("Effective rows", {"effective_sample_size": 249.0}),
        ("Calibration gap", {"calibration": {"largest_relative_gap": 0.051}}),
        ("Segments missed", {"segments": [EMPTY_LEVEL]}),
        ("Variance ratio", {"variance_ratio": 1.06}),
    ],
)
def test_what_is_unsound_is_a_warning_and_alone(report, title, change):
    for name, value in change.items():
        if name == "segments":
            report[name].append({**report[name][0], **EMPTY_LEVEL})
        elif isinstance(value, dict):
            report[name] |= value
        else:
            report[name] = value
    assert [check.title for check in checks(report) if check.status == "warning"] == [title]


def test_a_warning_stands_in_the_headline(report):
    words = Page(render(report | {"variance_ratio": 1.06})).words
    assert {"⚠ Look closer", "⚠ Warning"} <= set(words)
    assert "✓ Sound" not in words


def test_a_policy_that_is_biased_by_design_says_so_in_words():
    found = selection_of(binary_records(5000), policy="max-loss", budget=0.1, seed=7).report
    status = {check.title: check for check in checks(found)}["Mean-loss gap"]
    assert status.status == "warning"
    assert "Biased by design: top chooses rows by their loss" in status.sentence
    assert {check.title: check.status for check in checks(found)}["Stands for"] == "warning"
    words = " ".join(Page(render(found)).words)
    assert "weights of 1. Biased by design: top chooses rows" in words


@pytest.mark.parametrize(("size", "status"), [(589, "good"), (590, "warning"), (410, "warning")])
def test_the_size_of_a_poisson_draw_varies(report, size, status):
    report["policy"]["design"] = "poisson"
    found = checks(report | {"drawn": size})[0]  # 4 sqrt(500) = 89.4
    assert (found.title, found.status) == ("Rows drawn", status)


def test_small_levels_may_be_missed_and_absent_parts_are_not_judged(report):
    report["segments"].append({**report["segments"][0], **EMPTY_LEVEL, "candidates": 49})
    del report["calibration"]
    report["design_exact"] = False
    status = {check.title: check.status for check in checks(report)}
    assert status["Segments missed"] == "good"
    assert status["Calibration gap"] == status["Variance ratio"] == "none"
    report["segments"] = []
    assert {check.title: check.status for check in checks(report)}["Segments missed"] == "none"
    render(report)


@pytest.fixture
def manifest(report) -> Manifest:
    return Manifest(
        refresh_id=report["refresh_id"],
        pipeline="flights",
        policy="bootstrap",
        ds=date(2013, 2, 7),
        seed=4711,
        config="{}",
        config_digest="c0de" * 16,
        inputs=Inputs(date(2013, 2, 1), datetime(2013, 2, 8, tzinfo=UTC), {"labels": 9}),
        counts=RowCounts(candidates=900, drawn=900, held_out=12, rejected=0),
        sampled=Part(version=5),
        holdout=Part(version=6),
        sample_digest="5eed" * 16,
        report=BOOTSTRAP,
        created_at=datetime(2013, 2, 8, 3, tzinfo=UTC),
    )


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_a_card_is_written_whole_and_made_again_only_where_it_must(manifest, tmp_path, form):
    warehouse: Any = SimpleNamespace(path=lambda name: form.format(tmp_path / name))
    file = tmp_path / "report_cards" / f"{manifest.refresh_id}.html"
    assert current_card(warehouse, manifest) == form.format(file)
    written = file.read_bytes()
    assert {"c0de" * 16, "5eed" * 16} <= set(Page(written.decode()).words)
    made = file.stat().st_ino
    assert current_card(warehouse, manifest) == form.format(file)
    assert file.stat().st_ino == made
    assert write_card(warehouse, manifest) == form.format(file)
    assert file.read_bytes() == written
    later = replace(manifest, created_at=datetime(2013, 2, 9, tzinfo=UTC))
    current_card(warehouse, later)  # a forced refresh, whose job was killed before its card
    assert file.read_bytes() != written
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_the_zip_for_spark_submit_holds_the_template(tmp_path):
    listed = subprocess.run(
        ["make", "-pn", "help"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    sources = re.search(r"^sources := (.*)$", listed, re.MULTILINE)
    assert sources is not None
    bundle = tmp_path / "code.zip"
    subprocess.run(
        [sys.executable, "setup/zip.py", bundle, *sources.group(1).split()], cwd=ROOT, check=True
    )
    assert "spark_jobs/report/card.html" in zipfile.ZipFile(bundle).namelist()
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from spark_jobs.report import card;"
        "assert sys.argv[1] in card.__file__;"
        f"assert 'Sound' in card.render({BOOTSTRAP})"
    )
    subprocess.run([sys.executable, "-c", code, bundle], cwd=tmp_path, check=True)


def test_the_rows_own_weights_are_on_the_page_and_effective_rows_are_held_against_them():
    own = np.random.default_rng(3).lognormal(0, 1.1, 3000)
    table = binary_records(3000).append_column("row_weight", pa.array(own))
    report = selection_of(table, policy="uniform", budget=0.1, seed=7).report
    page = Page(render({**report, **LINEAGE}))
    assert [n for n in numbers(report["row_weight"]) if n not in page.numbers] == []
    assert "drawn rows, each counting its own weight" in page.words
    effective = {check.title: check for check in checks(report)}["Effective rows"]
    assert report["effective_sample_size"] < 0.5 * report["budget"]
    assert effective.status == "good", effective
    assert "that the rows' own weights leave of all" in effective.sentence
