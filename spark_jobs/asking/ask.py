"""Draw instances to ask for their labels; the draw is kept, and what it comes to is their list."""

import hashlib
from contextlib import closing
from datetime import date
from typing import NamedTuple

import pyarrow as pa
from pyspark.sql import functions as F

from schemas.asked import ASKED
from schemas.errors import ConfigurationError
from schemas.pipeline import Pipeline
from schemas.progress import step
from schemas.sections.budget import Budget, parse_budget
from spark_jobs.blocks.spark_blocks import blocks_of, decided_frame
from spark_jobs.candidates.narrow import narrow
from spark_jobs.candidates.window import window_of
from spark_jobs.refresh.plan import plan_refresh
from spark_jobs.refresh.registered import models_of
from spark_jobs.selection.engine import select
from spark_jobs.selection.policies import policy_for
from spark_jobs.selection.policy import Policy
from spark_jobs.selection.scores import SCORES
from spark_jobs.storage.creation import create_missing
from spark_jobs.storage.warehouse import Warehouse

FLOOR = 0.2  # of the budget, spent uniformly: no weight is above five times the mean


class Ask(NamedTuple):
    """One draw of instances to be asked for their labels."""

    ask_id: str
    ds: date
    policy: Policy
    budget: Budget
    seed: int


def ask_of(pipeline: Pipeline, ds: date, policy: str | None, budget: float | str) -> Ask:
    """The ask of a day: the same arguments make the same.

    policy: of those whose score needs no label; None for the one that suits the task. Raises
    ConfigurationError where labels mature of themselves, or the policy needs a label.
    """
    if pipeline.labels.maturity != "arrival":
        raise ConfigurationError(
            f"labels.maturity = {pipeline.labels.maturity!r}: labels mature without being asked"
            ' for. Remedy: --unlabelled is for maturity = "arrival".'
        )
    name = policy or ("uniform" if pipeline.task == "regression" else "uncertainty")
    found = policy_for(name, pipeline.task)
    labelled = [score for score in found.scores if SCORES[score].needs_label]
    if labelled or found.calibrated:
        raise ConfigurationError(
            f"--policy = {name}: it needs the labels that are to be asked for. Remedy: uncertainty"
            " or uniform."
        )
    if not found.equal:
        found = policy_for(name, pipeline.task, floor=FLOOR)
    text = f"{pipeline.name}/{pipeline.selection.seed}/{ds}/{name}/{budget}/ask"
    digest = hashlib.sha256(text.encode())
    seed = 1 + int.from_bytes(digest.digest()[:8], "big") % ((1 << 53) - 1)
    return Ask(f"{ds}-ask-{name}-{digest.hexdigest()[:8]}", ds, found, parse_budget(budget), seed)


def asked_by(warehouse: Warehouse, ask: Ask) -> pa.Table:
    """instance_id and probability of the instances that an ask drew, sorted; drawn now where it
    has not been.

    It draws among the window's instances that have a record, no label by the cut, are not held out,
    and about which no ask has drawn before: each is drawn, or not, once. Raises EmptyDrawError
    where there is none, ConflictError where another run asks meanwhile.
    """
    if not warehouse.exists(ASKED):
        create_missing(warehouse)
    # Taken before the look for who was drawn about: a run unseen competes for this number.
    number = warehouse.next_number(ASKED, "ask")
    if not _was_drawn(warehouse, ask.ask_id):
        with step(f"drawing whom to ask, {ask.ds}"):
            _draw(warehouse, ask, number)
    own = warehouse.read(ASKED).where((F.col("ask_id") == ask.ask_id) & F.col("drawn"))
    return own.select("instance_id", "probability").toArrow().sort_by("instance_id")


def _was_drawn(warehouse: Warehouse, ask_id: str) -> bool:
    return any(file["partition"]["ask_id"] == ask_id for file in warehouse.files(ASKED))


def _draw(warehouse: Warehouse, ask: Ask, number: int) -> None:
    """Append every instance about which the ask draws, with what was decided."""
    plan = plan_refresh(warehouse, ask.ds)
    window = window_of(warehouse, plan, models_of(warehouse.pipeline, warehouse.root).accepted)
    known = window.labels.where(F.col("known_at") <= F.lit(plan.cut))
    before = warehouse.read(ASKED).select("instance_id")
    others = known.select("instance_id").unionByName(before).distinct()
    records = window.records.join(others, "instance_id", "left_anti")
    rows = narrow(records, window.labels.limit(0), plan.cut, sketch=False, rules=window.rules)
    blocks, _ = blocks_of(rows, window.at_most, ask.seed, 0.0)
    with closing(blocks):
        selection = select(blocks, ask.policy, ask.budget, ask.seed, warehouse.pipeline.task)
        decided = decided_frame(warehouse.spark, selection).select(
            F.lit(ask.ask_id).alias("ask_id"),
            *("instance_id", "event_time", "model_version", "score", "probability", "drawn"),
            F.lit(plan.cut).alias("cut"),
        )
        warehouse.append_numbered(decided, ASKED, "ask", number)
