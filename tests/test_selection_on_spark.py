"""The selection on Spark is that of `draw`, bit for bit, whatever the layout (law 1)."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

from reference.slow_candidates import candidates
from schemas.sections.budget import parse_budget
from spark_jobs.blocks import spark_blocks, spark_held
from spark_jobs.blocks.spark_blocks import SparkBlocks, blocks_of, drawn_frame
from spark_jobs.candidates.assemble import Counts
from spark_jobs.candidates.narrow import narrow
from spark_jobs.selection import blocks
from spark_jobs.selection.draw import selection_of
from spark_jobs.selection.engine import SelectionResult, select
from spark_jobs.selection.from_arrow import from_arrow
from spark_jobs.selection.policies import policy_for
from spark_jobs.selection.policy import Policy, Strata
from tests.helpers.logged_records import binary_records

SEED, N = 7, 3000
NOON = datetime(2013, 2, 1, 12, tzinfo=UTC)
CUT = NOON + timedelta(days=1)


def moments(n: int) -> pa.Array:
    return pa.array([NOON] * n, pa.timestamp("us", tz="UTC"))


@pytest.fixture(scope="module")
def records() -> pa.Table:
    """Candidates as `draw` takes them: three model versions."""
    return (
        binary_records(N)
        .append_column("event_time", moments(N))
        .append_column("model_version", pa.array([str(i % 3) for i in range(N)]))
    )


@pytest.fixture(scope="module")
def logged(spark: SparkSession, records: pa.Table) -> tuple[DataFrame, DataFrame]:
    """The same as the tables hold them: records without labels, labels as they arrived."""
    record = (
        records.drop_columns(["label"])
        .append_column("label", pa.nulls(N, pa.float64()))
        .append_column("logits", pa.nulls(N, pa.list_(pa.float32())))
        .append_column("statistics", pa.nulls(N, pa.list_(pa.float32())))
        .append_column("loss", pa.nulls(N, pa.float64()))
        .append_column("propensity", pa.nulls(N, pa.float64()))
        .append_column("recorded_at", moments(N))
        .append_column("batch_id", pa.array(["batch"] * N))
    )
    label = records.select(["instance_id", "label"]).append_column("known_at", moments(N))
    return spark.createDataFrame(record), spark.createDataFrame(label)


def on_spark(
    logged: tuple[DataFrame, DataFrame], policy: Policy, partitions: int = 3
) -> tuple[SelectionResult, SparkBlocks]:
    parts = (frame.repartition(partitions) for frame in logged)
    found = SparkBlocks(narrow(*parts, CUT, sketch=policy.calibrated), 2 * N, SEED, None)
    return select(found, policy, parse_budget(0.1), SEED, "binary"), found


def set_all(spark: SparkSession, options: dict[str, str]) -> None:
    for name, value in options.items():
        spark.conf.set(name, value)


def by_id(rows: pa.Table) -> list[dict]:
    columns = ["instance_id", "score", "probability", "drawn", "weight", "offset", "position"]
    return rows.select(columns).sort_by("instance_id").to_pylist()


def everything(found: SelectionResult) -> pa.Table:
    """Every candidate, as it would be stored."""
    return pa.concat_tables(found.stored(lambda rows: rows))


@pytest.fixture
def many_blocks(monkeypatch) -> None:
    """Eight blocks of some 375 rows in two shards: each costs a task in every pass."""
    for module in (blocks, spark_blocks):
        monkeypatch.setattr(module, "block_bits", lambda count: 3)
    monkeypatch.setattr(spark_blocks, "shard_bits", lambda rows: 1)


POLICIES = {
    "calibrated": policy_for("calibrated", "binary"),
    "balanced": policy_for("balanced", "binary"),
    "max-loss": policy_for("max-loss", "binary"),
    "strata": policy_for("grad-norm", "binary", strata=Strata(1, min_share=0.2)),
}


@pytest.mark.usefixtures("many_blocks")
@pytest.mark.parametrize("name", list(POLICIES))
def test_law_1_spark_draws_what_draw_draws(spark, records, logged, name):
    here = selection_of(records, policy=POLICIES[name], budget=0.1, seed=SEED)
    there, found = on_spark(logged, POLICIES[name])
    assert there.digest == here.digest
    assert there.report == here.report
    assert by_id(everything(there)) == by_id(here.rows(False))
    drawn = drawn_frame(spark, there).toArrow()
    assert by_id(drawn) == by_id(here.rows(True))
    found.close()


@pytest.mark.usefixtures("many_blocks")
def test_law_1_spark_weighs_rows_as_draw_does(spark, records, logged):
    own = np.random.default_rng(3).lognormal(size=N)
    weights = pa.table({"instance_id": records["instance_id"], "row_weight": own})
    labels = logged[1].join(spark.createDataFrame(weights), "instance_id")
    policy = policy_for("calibrated", "binary", weighting="inverse")
    weighted = records.append_column("row_weight", pa.array(own))
    here = selection_of(weighted, policy=policy, budget=0.1, seed=SEED)
    there, found = on_spark((logged[0], labels), policy)
    assert there.digest == here.digest
    assert there.report == here.report
    assert by_id(everything(there)) == by_id(here.rows(False))
    found.close()


@pytest.mark.usefixtures("many_blocks")
@pytest.mark.parametrize(
    ("partitions", "shards", "batch", "together"),
    [(1, 0, 100_000, 6), (2, 1, 1_000, 6), (64, 3, 100, 1)],
)
def test_law_1_partitions_shards_and_batches_do_not_change_the_sample(
    spark, records, logged, monkeypatch, partitions, shards, batch, together
):
    """Nor that answers of many shards meet, two at a time, before they come to the driver, nor
    that Spark plans again while it runs, and would put small partitions together."""
    monkeypatch.setattr(spark_blocks, "shard_bits", lambda rows: shards)
    monkeypatch.setattr(spark_held, "TOGETHER_BITS", together)
    expected = selection_of(records, policy="calibrated", budget=0.1, seed=SEED)
    options = {
        "spark.sql.execution.arrow.maxRecordsPerBatch": str(batch),
        "spark.sql.adaptive.enabled": "true",
    }
    before = {name: str(spark.conf.get(name)) for name in options}
    set_all(spark, options)
    try:
        there, found = on_spark(logged, POLICIES["calibrated"], partitions)
        assert there.digest == expected.digest
        assert there.report == expected.report
        found.close()
    finally:
        set_all(spark, before)


def test_law_1_blocks_larger_than_shards_are_put_together(records, logged, monkeypatch):
    monkeypatch.setattr(spark_blocks, "shard_bits", lambda rows: 3)
    monkeypatch.setattr(blocks, "block_bits", lambda count: 1)
    monkeypatch.setattr(spark_blocks, "block_bits", lambda count: 1)
    expected = selection_of(records, policy="calibrated", budget=0.1, seed=SEED)
    there, found = on_spark(logged, POLICIES["calibrated"])
    assert there.digest == expected.digest
    assert there.report == expected.report
    found.close()


@pytest.mark.usefixtures("many_blocks")
@pytest.mark.parametrize("called_for", [0, 1])
def test_law_1_far_more_shards_than_the_candidates_call_for_are_put_together(
    records, logged, monkeypatch, called_for
):
    """The tables' logs bound rows that are no candidates too; these are known once packed."""
    monkeypatch.setattr(spark_blocks, "shard_bits", lambda rows: called_for if rows <= N else 4)
    expected = selection_of(records, policy="calibrated", budget=0.1, seed=SEED)
    there, found = on_spark(logged, POLICIES["calibrated"])
    assert isinstance(found, SparkBlocks)
    packed = found._shards.select("shard").collect()
    assert len({row["shard"] for row in packed}) == 2**called_for
    assert len(packed) == 8, "a block a piece"
    assert there.digest == expected.digest
    assert there.report == expected.report
    found.close()


@pytest.mark.usefixtures("many_blocks")
def test_shards_without_a_candidate_are_passed_over(spark, logged, monkeypatch):
    """Labels of instances that left no record fall into every shard, candidates into two."""
    monkeypatch.setattr(spark_blocks, "shard_bits", lambda rows: 2)
    record, label = logged
    two = record.where("instance_id IN ('flight-1', 'flight-2')")
    found = SparkBlocks(narrow(two, label, CUT, sketch=False), 2 * N, SEED, None)
    chosen = select(found, policy_for("uniform", "binary"), parse_budget(1.0), SEED, "binary")
    ids = drawn_frame(spark, chosen).toArrow()["instance_id"].to_pylist()
    assert sorted(ids) == ["flight-1", "flight-2"]
    found.close()


def test_law_1_few_rows_on_the_driver_draw_the_same(spark, records, logged):
    expected = selection_of(records, policy="calibrated", budget=0.1, seed=SEED)
    found, counts = blocks_of(narrow(*logged, CUT, sketch=True), 2 * N, SEED, None)
    few = select(found, POLICIES["calibrated"], parse_budget(0.1), SEED, "binary")
    assert not isinstance(found, SparkBlocks)
    assert counts == Counts(records=N, unmatured=0, rejects={})
    assert few.digest == expected.digest
    assert by_id(everything(few)) == by_id(expected.rows(False))


def test_the_newest_record_meets_the_newest_label_known_by_the_cut(spark):
    """Against the obvious way in SQL, on repeated records, late and corrected labels, ties."""
    random = np.random.default_rng(5)
    n = 4000
    ids = [f"id{i}" for i in random.integers(0, 1000, n)]
    hours = [NOON + timedelta(hours=int(h)) for h in random.integers(0, 4, n)]
    when = pa.array(hours, pa.timestamp("us", tz="UTC"))
    record = pa.table(
        {
            "instance_id": ids,
            "event_time": moments(n),
            "model_version": [str(v) for v in random.integers(1, 3, n)],
            "batch_id": [f"b{b}" for b in range(n)],
            "recorded_at": when,
            "prediction": random.normal(size=n),
            "logits": pa.nulls(n, pa.list_(pa.float32())),
            "statistics": pa.nulls(n, pa.list_(pa.float32())),
            "sketch": pa.nulls(n, pa.list_(pa.float32())),
            "segments": pa.array([["a"]] * n),
            "label": pa.nulls(n, pa.float64()),
            "loss": pa.nulls(n, pa.float64()),
            "propensity": pa.nulls(n, pa.float64()),
        }
    )
    other = [f"id{i}" for i in random.integers(0, 1200, n)]
    value = [None if v == 2 else float(v) for v in random.integers(0, 3, n)]
    label = pa.table({"instance_id": other, "known_at": when, "label": pa.array(value)})
    cut = NOON + timedelta(hours=2)
    frames = [spark.createDataFrame(one) for one in (record, label)]
    expected = candidates(*frames, "label", cut).toArrow().sort_by("instance_id")
    found, counts = blocks_of(narrow(*frames, cut, sketch=False), 2 * n, SEED, None)
    rows = select(found, policy_for("uniform", "binary"), parse_budget(1.0), SEED, "binary")
    table = rows.rows(False).sort_by("instance_id")
    assert counts.unmatured == len(set(ids)) - expected.num_rows
    for name in ("instance_id", "model_version", "label"):
        assert table[name].to_pylist() == expected[name].to_pylist(), name
    loss = np.logaddexp(0, expected["prediction"]) - np.multiply(*map(np.asarray, (
        expected["label"], expected["prediction"])))  # fmt: skip
    np.testing.assert_allclose(table["loss"], loss, rtol=1e-12)


def test_unmatured_records_wait_or_stand_in_by_the_declared_rule(spark, logged):
    record, label = logged
    half = label.where("instance_id < 'flight-2'")
    wait, counts = blocks_of(narrow(record, half, CUT, sketch=False), 2 * N, SEED, None)
    assert wait.count == N - counts.unmatured
    assert counts.unmatured > 0
    stand_in, _ = blocks_of(narrow(record, half, CUT, sketch=False), 2 * N, SEED, 0.0)
    chosen = policy_for("grad-norm", "binary", unmatured_weight=0.5)
    told = select(stand_in, chosen, parse_budget(0.1), SEED, "binary").report
    assert told["candidates"] == N
    assert told["unmatured_share"] == pytest.approx(counts.unmatured / N)
    assert told["unmatured_drawn"] > 0


@pytest.mark.parametrize("finer", [-2, -1, 0, 1, 3])
def test_law_1_blocks_are_whole_however_shards_are_cut_into_pieces(
    records: pa.Table, finer: int
) -> None:
    """With more or fewer candidates than a shard led to expect, pieces are no blocks."""
    whole, bits = from_arrow(records, SEED), 4
    pieces = [part for _, part in blocks.split(whole, bits + finer)]
    found = list(spark_blocks._blocks(pieces, bits))
    expected = list(blocks.split(whole, bits))
    assert [number for number, _ in found] == [number for number, _ in expected]
    for (_, block), (_, other) in zip(found, expected, strict=True):
        for name in ("hash", "prediction", "label", "segments", "sketch", "version"):
            np.testing.assert_array_equal(getattr(block, name), getattr(other, name), name)
        assert block.kept is not None
        assert other.kept is not None
        assert block.kept.equals(other.kept)
