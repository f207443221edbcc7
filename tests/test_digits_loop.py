"""Real images go through the loop: many classes, a convolutional net, then a model of one's own."""

from datetime import date
from operator import itemgetter

import numpy as np
import pytest
from fastapi.testclient import TestClient
from pyspark.sql import functions as F

from demo.example_server import create_app
from schemas.pipeline import Pipeline, load_pipeline
from spark_jobs.bootstrap import bootstrap
from spark_jobs.ingest import ingest
from spark_jobs.score import score_day
from spark_jobs.select_sample import select_day
from spark_jobs.storage.warehouse import Warehouse
from trainer.train import train_refresh

pytestmark = pytest.mark.slow

LEARNT = date(2020, 1, 1), date(2020, 1, 3)
DS, NEXT = date(2020, 1, 4), date(2020, 1, 5)
SMALL = {
    "source": "digits",
    "features.image.shape": [1, 8, 8],
    "selection.budget": 0.5,
    "training.epochs": 12,  # of few images: one pass would not learn them
}
OWN = {
    "name": "pipelines.own_model:network",
    "sketch_layer": "blocks",
    "settings": {"width": 32, "depth": 2, "dropout": 0.1},
}
SAME = ["instance_id", "event_time", "model_version", "logits", "sketch"]


def digits(**changes: object) -> Pipeline:
    return load_pipeline("pipelines/mnist.toml", SMALL | {"gate.min_rows": 10} | changes)


@pytest.fixture(scope="module")
def loop(spark, tmp_path_factory) -> dict[str, object]:
    """A first model on three days, a day of the loop, then a model of one's own on its sample."""
    warehouse = Warehouse(str(tmp_path_factory.mktemp("digits") / "warehouse"), digits())
    ingest(warehouse, LEARNT[0], NEXT)
    first = bootstrap(warehouse, *LEARNT)
    done = {"warehouse": warehouse}
    done["first"] = train_refresh(warehouse.pipeline, warehouse.root, first["refresh_id"])
    done["score"] = score_day(warehouse, DS)
    done["select"] = select_day(warehouse, DS)
    refresh = done["select"]["refresh_id"]
    done["second"] = train_refresh(warehouse.pipeline, warehouse.root, refresh)
    own = digits(model=OWN, **{"gate.max_loss_increase": 10.0, "training.epochs": 40})
    done["own"] = train_refresh(own, warehouse.root, first["refresh_id"], force=True)
    done["scored by own"] = score_day(warehouse, NEXT)
    return done


def test_a_convolutional_net_learns_digits_from_the_tables(loop):
    for step in ("first", "second"):
        challenger = loop[step]["metrics"]["challenger"]
        assert set(challenger) >= {"loss", "accuracy", "calibration_error"}
        assert challenger["accuracy"] > 0.8
    assert loop["second"]["parent_version"] == "1"


def test_records_of_images_have_logits_and_a_sketch_and_no_pixels(loop):
    records = loop["warehouse"].read("forward_records").where(F.col("event_date") == F.lit(DS))
    row = records.first()
    assert loop["score"]["records"] == records.count() == 150
    assert (len(row["logits"]), len(row["sketch"])) == (10, 16)
    assert row["prediction"] is None
    assert row["statistics"] is None


def test_selection_draws_half_and_calibrates_residuals_of_every_class(loop):
    assert loop["select"]["status"] == "done"
    candidates, drawn = loop["select"]["candidates"], loop["select"]["drawn"]
    assert drawn == round(0.5 * candidates)
    table = loop["warehouse"].read("selection_probabilities")
    rows = table.where(F.col("refresh_id") == loop["select"]["refresh_id"]).toPandas()
    assert rows.probability.sum() == pytest.approx(drawn)
    assert set(rows.label) <= set(range(10))
    assert not np.allclose(rows.weight[rows.drawn], 1.0)


def test_a_model_of_ones_own_trains_serves_and_is_recorded_alike_by_both_writers(loop, tmp_path):
    assert loop["own"]["promoted"], loop["own"]["reason"]
    assert loop["own"]["parent_version"] is None  # other layers than the champion's
    assert loop["own"]["metrics"]["challenger"]["accuracy"] > 0.8
    warehouse = loop["warehouse"]
    day = F.col("event_date") == F.lit(NEXT)
    instances = warehouse.read("instances").where(day).orderBy("instance_id").toPandas()[:100]
    request = {
        "ids": instances.instance_id.tolist(),
        "event_times": [f"{moment.isoformat()}Z" for moment in instances.event_time],
        "features": {"image": [list(map(float, image)) for image in instances.image]},
    }
    app = create_app(warehouse.pipeline, warehouse.root, tmp_path / "journal")
    with TestClient(app) as client:
        answer = client.post("/score", json=request)
        assert answer.status_code == 200, answer.text
    records = warehouse.read("forward_records").where(day)
    online = records.where(F.col("batch_id").startswith("recorder/")).select(*SAME).collect()
    ids = F.col("instance_id").isin(request["ids"])
    batch = records.where(~F.col("batch_id").startswith("recorder/") & ids)
    place = itemgetter("instance_id")
    both = [
        sorted((row.asDict() for row in rows), key=place)
        for rows in (online, batch.select(*SAME).collect())
    ]
    assert len(both[0]) == 100
    assert both[0] == both[1]
    assert {row["model_version"] for row in both[0]} == {str(loop["own"]["version"])}
