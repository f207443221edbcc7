"""Is a model trained on a selected sample calibrated? Measured on all candidates.

The hold-out of a few weeks is too small for the question: of 1,145 flights, a quarter late, chance
alone moves the ratio of predicted to observed by 5 %. So all candidates are asked: nine in ten were
not drawn. The undrawn alone would not do: a draw that favours late flights leaves fewer of them.

    python -m benchmarks.calibration --warehouse W --refresh R --pulls 0,0.001,0.01,0.1
"""

import argparse
import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.next_day import labelled_features
from inference.champion import find_version
from schemas.pipeline import load_pipeline
from spark_jobs.warehouse import Warehouse
from trainer.evaluate import Metrics
from trainer.export import load_bundle
from trainer.judge import measure
from trainer.reader import Rows, read_sampled, rows_from
from trainer.refresh import Refresh, open_refresh
from trainer.train import fitted, model_card


def candidates(warehouse: Warehouse, refresh: Refresh) -> Rows:
    """Every candidate of the refresh, drawn or not, with its features and label."""
    last = date.fromisoformat(refresh.ds)
    first = last - timedelta(days=warehouse.pipeline.selection.window_days - 1)
    name = "selection_probabilities"
    paths = [
        f"{warehouse.path(name)}/{file['path']}"
        for file in warehouse.files(name)
        if file["partition"]["refresh_id"] == refresh.refresh_id
    ]
    known = pq.read_table(paths, columns=["instance_id"], partitioning=None)["instance_id"]
    warehouse.spark.sparkContext.setLogLevel("ERROR")  # also starts the session
    table = labelled_features(warehouse, first, last)
    table = table.filter(pc.is_in(table["instance_id"], value_set=known.combine_chunks()))
    features = model_card(warehouse.pipeline, refresh.refresh_id, 1).features
    names = [*(feature.name for feature in features), "label"]
    return rows_from(features, {name: table[name].to_numpy() for name in names})


def mean_of(results: list[Metrics]) -> Metrics:
    """Each metric's mean over repeated trainings."""
    return {name: float(np.mean([one[name] for one in results])) for name in results[0]}


def main(argv: list[str] | None = None) -> None:
    """One JSON line a pull: metrics over the candidates, mean of several seeds."""
    line = argparse.ArgumentParser(description=__doc__)
    line.add_argument("--pipeline", default="pipelines/flights.toml")
    line.add_argument("--warehouse", required=True)
    line.add_argument("--refresh", required=True)
    line.add_argument("--parent", default="1", help="model version to start from (%(default)s)")
    line.add_argument("--pulls", default="0,0.001,0.003,0.01,0.03,0.1")
    line.add_argument("--seeds", type=int, default=5)
    args = line.parse_args(argv)
    pipeline = load_pipeline(args.pipeline)
    warehouse = Warehouse(str(Path(args.warehouse).resolve()), pipeline)
    refresh = open_refresh(warehouse.root, pipeline, args.refresh)
    rows, asked = read_sampled(pipeline, refresh), candidates(warehouse, refresh)
    parent = load_bundle(find_version(pipeline.name, args.parent, warehouse.root).folder)
    card = model_card(pipeline, refresh.refresh_id, 1)
    for pull in map(float, args.pulls.split(",")):
        results = []
        for seed in range(1, args.seeds + 1):
            changed = pipeline.training.model_copy(update={"pull": pull, "seed": seed})
            model, _ = fitted(pipeline.model_copy(update={"training": changed}), card, rows, parent)
            results.append(measure(model, card, asked, changed))
        print(json.dumps({"pull": pull, "trained_on": len(rows)} | mean_of(results)), flush=True)


if __name__ == "__main__":
    main()
