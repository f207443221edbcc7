"""Features of real instances: the as-of join of their views, encoded, and nothing read in vain."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

from schemas.pipeline import Pipeline, load_pipeline
from spark_jobs.features.point_in_time import columns_used, with_features
from spark_jobs.ingest import to_arrow, trim
from spark_jobs.sources import flights
from spark_jobs.storage.warehouse import Warehouse


@dataclass(frozen=True)
class Shelf(Warehouse):
    """A warehouse of tables in memory, that remembers which versions were asked for."""

    tables_by_name: Mapping[str, pa.Table] = field(default_factory=dict)
    asked: dict[str, int | None] = field(default_factory=dict)

    def read(self, name: str, version: int | None = None) -> DataFrame:
        self.asked[name] = version
        return self.spark.createDataFrame(self.tables_by_name[name])


@pytest.fixture(scope="module")
def real_day(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Shelf, DataFrame, dict[str, pd.DataFrame]]:
    """Real flights of 1 February, with the features they can need."""
    pipeline: Pipeline = load_pipeline("pipelines/flights.toml")
    day = date(2013, 2, 1)
    files = flights.read_files(flights.data_dir())
    winter = files.flights[files.flights["month"] <= 2]
    frames = trim(flights.build(replace(files, flights=winter)), pipeline, day, day)
    root = str(tmp_path_factory.mktemp("shelf"))
    shelf = Shelf(root, pipeline)
    tables = {name: to_arrow(frames, shelf.tables[name]) for name in frames}
    shelf = Shelf(root, pipeline, tables_by_name=tables)
    return shelf, spark.createDataFrame(tables["instances"]), frames


def test_features_of_a_real_day(
    real_day: tuple[Shelf, DataFrame, dict[str, pd.DataFrame]],
) -> None:
    shelf, instances, frames = real_day
    pipeline = shelf.pipeline
    found = with_features(shelf, instances, {"features/planes": 3}).toArrow()
    assert found.column_names == ["instance_id", "event_time", *pipeline.features]
    assert all(column.null_count == 0 for column in found.columns)
    assert shelf.asked["features/planes"] == 3
    assert shelf.asked["features/weather"] is None
    expected = merged(frames, pipeline)
    result = found.to_pandas().sort_values("instance_id", ignore_index=True)
    assert result["instance_id"].tolist() == expected["instance_id"].tolist()
    for name, feature in pipeline.features.items():
        if feature.kind == "number":
            wanted = expected[pipeline.feature_source(name)[1]].fillna(feature.default)
            np.testing.assert_array_equal(result[name], wanted.astype("float32"), err_msg=name)


def merged(frames: Mapping[str, pd.DataFrame], pipeline: Pipeline) -> pd.DataFrame:
    """The features by pandas: each view's rows become known in the order of their timestamps."""
    rows = frames["instances"].sort_values("event_time", kind="stable")
    rows = rows.astype({"event_time": "datetime64[us, UTC]"})
    for each in pipeline.feature_views:
        created, timestamp = each.created_timestamp_column, each.timestamp_field
        known = frames[f"features/{each.name}"].sort_values([timestamp, created])
        assert known[created].is_monotonic_increasing
        known = known.astype({created: "datetime64[us, UTC]"})
        keys = each.entity
        rows = pd.merge_asof(rows, known, left_on="event_time", right_on=created, by=keys)
        if each.ttl is not None:
            stale = rows[timestamp] <= rows["event_time"] - pd.Timedelta(each.ttl)
            rows.loc[stale, list(each.columns)] = np.nan
        rows = rows.drop(columns=[created, timestamp])
    return rows.sort_values("instance_id", ignore_index=True)


def test_only_what_a_feature_names_is_read(
    real_day: tuple[Shelf, DataFrame, dict[str, pd.DataFrame]],
) -> None:
    shelf, instances, _ = real_day
    kept = {"temp": shelf.pipeline.features["temp"]}
    small = Shelf(shelf.root, shelf.pipeline.model_copy(update={"features": kept}))
    narrow = {"features/weather": shelf.tables_by_name["features/weather"]}
    small = Shelf(shelf.root, small.pipeline, tables_by_name=narrow)
    found = with_features(small, instances.select("instance_id", "event_time", "origin"))
    assert found.columns == ["instance_id", "event_time", "temp"]
    assert columns_used(small.pipeline) == {"weather": {"temp"}}
    assert list(small.asked) == ["features/weather"]


def test_features_of_the_instances_alone_need_no_view(
    real_day: tuple[Shelf, DataFrame, dict[str, pd.DataFrame]],
) -> None:
    shelf, instances, frames = real_day
    kept = {name: shelf.pipeline.features[name] for name in ("hour", "distance")}
    small = Shelf(shelf.root, shelf.pipeline.model_copy(update={"features": kept}))
    found = with_features(small, instances).toArrow()
    assert found.column_names == ["instance_id", "event_time", "hour", "distance"]
    assert found.num_rows == len(frames["instances"])
