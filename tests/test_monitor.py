"""`monitor`: rows of `performance` as a plain recomputation has them, each once, and limits."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from schemas.errors import ConfigurationError, NoDataError
from schemas.pipeline import load_pipeline
from spark_jobs import monitor as job
from spark_jobs.monitoring.performance import as_of, read_performance
from spark_jobs.storage.warehouse import Warehouse
from tests.helpers import small_warehouse as small
from tests.helpers.flights_loop import LOOPED, PIPELINE

FIRST, SECOND, THIRD = small.DAYS
COUNT = 60  # instances a day


def tables(seed: int = 3) -> dict[str, list[dict[str, Any]]]:
    """Three days: some instances without a record, two versions on a day, a record that cannot be
    used, one that repeats, and labels that come late but for those of the first day."""
    random = np.random.default_rng(seed)
    asked = small.instances(count=COUNT)
    records = small.records(asked[: 2 * COUNT] + asked[2 * COUNT + 6 :])
    for number, row in enumerate(records):
        row["prediction"] = float(random.normal(-0.5, 1.2))
        row["model_version"] = "2" if row["event_date"] == THIRD or number % COUNT > 40 else "1"
    records[5]["prediction"] = float("nan")
    again = records[9] | {"prediction": 9.0, "batch_id": "again"}
    again["recorded_at"] += timedelta(hours=1)
    labels = small.labels(asked)
    for row in labels:
        row["sold"] = float(random.random() < 0.4)
        if row["event_date"] > FIRST:
            row["known_at"] += timedelta(hours=float(random.exponential(20)))
    return {"instances": asked, "records": [*records, again], "labels": labels}


def filled(folder: Path, **limits: float) -> Warehouse:
    return small.filled(folder, small.pipeline(monitor=limits), **tables())


def plainly(rows: dict[str, list[dict[str, Any]]], cut: datetime) -> dict[tuple[Any, ...], Any]:
    """The same by pandas and scikit-learn, a group at a time."""
    records = pd.DataFrame(rows["records"]).dropna(subset=["prediction"])
    records = records.sort_values("recorded_at").drop_duplicates(["instance_id", "model_version"])
    labels = pd.DataFrame(rows["labels"])
    known = labels[labels["known_at"] <= cut][["instance_id", "sold"]]
    joined = records.merge(known, how="left", on="instance_id")
    asked = pd.DataFrame(rows["instances"])
    asked["recorded"] = asked["instance_id"].isin(records["instance_id"])
    joined["shop"] = joined["segments"].str[0]
    for frame in (joined, asked):
        frame["all"] = "all"
    found = {}
    for segment in ("all", "shop"):
        of_day = asked.groupby(["event_date", segment])["recorded"].agg(["size", "sum"])
        for key, own in joined.groupby(["event_date", "model_version", segment]):
            y = own["sold"].dropna()
            p = 1 / (1 + np.exp(-own["prediction"]))
            entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p))
            asks, recorded = of_day.loc[(key[0], key[2])]
            both = y.nunique() == 2
            found[(*key[:2], segment, key[2])] = {
                "instances": asks,
                "recorded": recorded,
                "records": len(own),
                "matured": len(y),
                "loss": log_loss(y, p[y.index], labels=[0, 1]) if len(y) else None,
                "expected_loss": entropy.mean(),
                "expected_loss_matured": entropy[y.index].mean() if len(y) else None,
                "auc": roc_auc_score(y, p[y.index]) if both else None,
                "calibration_ratio": p[y.index].sum() / y.sum() if y.sum() and len(y) > 1 else None,
            }
    return found


def assert_rows(found: dict[tuple[Any, ...], Any], wanted: dict[tuple[Any, ...], Any]) -> None:
    assert found.keys() == wanted.keys()
    for key, row in wanted.items():
        for name, value in row.items():
            within = 1e-9 + (found[key]["auc_error"] or 0.0) * (name == "auc")
            assert found[key][name] == (
                None if value is None else pytest.approx(value, abs=within)
            ), (key, name)


def end_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


@pytest.fixture(scope="module")
def measured(spark, tmp_path_factory) -> tuple[Warehouse, list[dict[str, Any]]]:
    """Two runs at the ends of the second and the third day, and the second of them repeated."""
    warehouse = filled(tmp_path_factory.mktemp("monitor"), min_coverage=0.95)
    told = [job.monitor(warehouse, FIRST, SECOND), job.monitor(warehouse, FIRST, THIRD)]
    before = warehouse.version("performance")
    told.append(job.monitor(warehouse, FIRST, THIRD))
    assert warehouse.version("performance") == before
    return warehouse, told


@pytest.mark.parametrize("day", [SECOND, THIRD])
def test_figures_are_those_of_a_plain_recomputation(measured, day):
    found = as_of(read_performance(measured[0].path("performance")), end_of(day))
    wanted = plainly(tables(), end_of(day))
    assert_rows(found, {key: row for key, row in wanted.items() if key[0] <= day})


def test_law_2_late_labels_add_rows_under_a_new_cut_and_overwrite_none(measured):
    rows = read_performance(measured[0].path("performance"))
    early, late = end_of(SECOND), end_of(THIRD)
    of_all = {
        (row["event_date"], row["cut"]): row["matured"]
        for row in rows
        if (row["segment"], row["model_version"]) == ("all", "1")
    }
    assert 0 < of_all[SECOND, early] < of_all[SECOND, late] < COUNT


def test_law_2_a_repeated_run_adds_nothing_and_says_the_same(measured):
    _, (_, second, again) = measured
    assert (second["rows"] > 0, again["rows"]) == (True, 0)
    kept = ("days", "beyond", "exit_code", "page", "cut")
    assert {name: again[name] for name in kept} == {name: second[name] for name in kept}


def test_law_2_a_day_that_nothing_changed_has_no_row_under_a_later_cut(measured):
    rows = read_performance(measured[0].path("performance"), FIRST, FIRST)
    assert {row["cut"] for row in rows} == {end_of(SECOND)}


def test_beyond_a_limit_the_result_names_it_and_the_code_is_4(measured):
    _, (first, second, _) = measured
    assert "exit_code" not in first
    assert second["exit_code"] == 4
    assert second["beyond"] == [
        {
            "limit": "monitor.min_coverage",
            "event_date": str(THIRD),
            "model_version": "2",
            "what": "coverage",
            "value": pytest.approx(54 / 60),
            "allowed": 0.95,
        }
    ]
    assert "model version 2: coverage 0.9" in Path(second["page"]).read_text()


def test_days_without_a_record_are_no_data(measured):
    day = date(2025, 1, 1)
    with pytest.raises(NoDataError, match="no record"):
        job.monitor(measured[0], day, day)


def test_the_real_flights_of_two_days(twin):
    """By the labels of all flights of the loop; its days have one model each."""
    end = LOOPED[1] + timedelta(days=1)
    told = job.monitor(twin, LOOPED[0], end)
    records = twin.read("forward_records").toPandas()
    labels = twin.read("labels").toPandas()[["instance_id", "late", "known_at"]]
    labels = labels[labels["known_at"] <= pd.Timestamp(end_of(end)).tz_localize(None)].dropna()
    joined = records.drop(columns="label").merge(labels, on="instance_id")
    assert [day["event_date"] for day in told["days"]] == list(LOOPED)
    for day in told["days"]:
        own = joined[joined["event_date"] == day["event_date"]]
        p = 1 / (1 + np.exp(-own["prediction"]))
        assert day["matured"] == len(own) > 500
        assert day["loss"] == pytest.approx(log_loss(own["late"], p), rel=1e-6)
        assert day["auc"] == pytest.approx(roc_auc_score(own["late"], p), abs=1e-3)
        assert day["calibration_ratio"] == pytest.approx(p.sum() / own["late"].sum(), rel=1e-6)
    page = Path(told["page"]).read_text()
    assert "Backward passes" in page
    assert page.count("<svg") == 7


# --- the webhook ---


@pytest.fixture
def hook() -> Iterator[tuple[str, list[Any]]]:
    """A server that keeps what it is sent, and answers 200, or 500 under /broken."""
    came: list[Any] = []

    class Keep(BaseHTTPRequestHandler):
        def do_POST(self):
            came.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(500 if self.path == "/broken" else 200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Keep)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", came
    server.shutdown()
    server.server_close()


def alarm(monkeypatch, url: str) -> dict[str, Any]:
    monkeypatch.setenv("TENFORWARD_WEBHOOK", url)
    pipeline = small.pipeline()
    one = job.Passed("monitor.max_loss", str(FIRST), "1", "loss", 0.7, 0.5)
    return job._alarm(pipeline, [one, one], job.webhook.address())


def test_a_webhook_gets_one_line(hook, monkeypatch):
    url, came = hook
    assert alarm(monkeypatch, url)["webhook"] == "sent"
    (sent,) = came
    assert sent["text"].startswith(
        "tenforward monitor, shops: 2026-02-01, model version 1: loss 0.7"
    )
    assert sent["text"].endswith("(and 1 more)")


def test_a_webhook_that_fails_is_told_without_its_address_and_hides_no_code(
    hook, monkeypatch, capfd
):
    url, _ = hook
    for secret, told in [
        (f"{url}/broken", "answered with status 500"),
        ("http://127.0.0.1:9/T00/s3cret", "could not be reached"),
        ("http://s3cret host/x", "could not be reached"),
    ]:
        result = alarm(monkeypatch, secret)
        assert told in result["webhook"]
        assert result["exit_code"] == 4
        shown = json.dumps(result) + "".join(capfd.readouterr())
        assert "s3cret" not in shown
        assert url not in shown


@pytest.mark.parametrize("bad", ["file:///etc/s3cret", "s3cret", "https://", "http://[s3cret"])
def test_a_webhook_that_is_none_is_refused_without_being_told(bad, monkeypatch):
    monkeypatch.setenv("TENFORWARD_WEBHOOK", bad)
    with pytest.raises(ConfigurationError, match=r"TENFORWARD_WEBHOOK.*Remedy") as refused:
        job.webhook.address()
    assert "s3cret" not in str(refused.value)


# --- the command line ---


def run(words: list[str], capfd) -> tuple[int, dict[str, Any]]:
    code = job.main(words)
    return code, json.loads(capfd.readouterr().out)


@pytest.mark.parametrize(
    "days",
    [
        [],
        ["--start", "2026-01-01"],
        ["--ds", "2026-01-01", "--end", "2026-01-02"],
        ["--start", "2026-01-02", "--end", "2026-01-01"],
        ["--ds", "2999-01-01"],
    ],
)
def test_days_that_are_none_are_refused(days, tmp_path, capfd):
    where = ["--pipeline", PIPELINE, "--warehouse", str(tmp_path / "none")]
    code, told = run([*where, *days], capfd)
    assert code == 2
    assert "Remedy" in told["error"]


def test_a_dry_run_says_what_would_be_read_and_writes_nothing(loop, capfd):
    warehouse = loop["warehouse"]
    where = ["--pipeline", PIPELINE, "--warehouse", warehouse.root]
    code, told = run([*where, "--ds", str(LOOPED[1]), "--dry-run"], capfd)
    assert (code, told["status"]) == (0, "planned")
    assert (told["start"], told["end"]) == ("2012-12-12", "2013-01-08")
    assert told["reference"] == ["2012-11-14", "2012-12-11"]
    records = warehouse.rows_by_date("forward_records")
    assert told["rows_read"]["forward_records"] == sum(
        count for day, count in records.items() if day <= LOOPED[1]
    )


def test_limits_of_a_regression_that_expects_no_loss_are_refused():
    for name in ("max_loss_gap", "max_calibration_gap"):
        with pytest.raises(ValueError, match=f"monitor.{name}"):
            small.pipeline(task="regression", selection={}, monitor={name: 0.1})


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_loss", -1), ("max_calibration_gap", 2), ("min_coverage", 1.5), ("max_drift", "0.1")],
)
def test_a_limit_that_is_none_is_named(name, value, tmp_path):
    file = tmp_path / "flights.toml"
    shown = json.dumps(value)
    file.write_text(Path(PIPELINE).read_text() + f"\n[monitor]\n{name} = {shown}\n")
    with pytest.raises(ConfigurationError, match=rf"monitor.{name}\b.*Remedy"):
        load_pipeline(file)


def test_limits_are_no_part_of_what_decides_a_sample():
    plain, other = load_pipeline(PIPELINE), load_pipeline(PIPELINE, {"monitor.max_loss": 0.5})
    assert plain.selection_digest() == other.selection_digest()
