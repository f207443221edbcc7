"""Compare: which policy and budget suit a day's records, without any training.

    tenforward compare --pipeline pipelines/flights.toml --ds 2013-02-01 \\
        --policies uniform,calibrated --budgets 0.05,0.1
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.command import (
    add_common_arguments,
    budget_text,
    parse_date,
    pipeline_of,
    require_over,
    run_command,
)
from schemas.errors import ConfigurationError, NoDataError
from schemas.log import log
from schemas.pipeline import Pipeline
from schemas.progress import step
from schemas.sections.budget import Budget, parse_budget
from spark_jobs.candidates.assemble import assemble
from spark_jobs.candidates.narrow import narrow
from spark_jobs.candidates.window import window_of
from spark_jobs.refresh.affordable import affordable
from spark_jobs.refresh.defined import segments_changed
from spark_jobs.refresh.forward_passes import of_policy
from spark_jobs.refresh.plan import RefreshPlan, plan_refresh
from spark_jobs.refresh.registered import models_of
from spark_jobs.report.comparison_plot import draw_plot
from spark_jobs.selection.comparison import ComparisonLine, compare
from spark_jobs.selection.policies import beside, on_records
from spark_jobs.selection.policy import Policy
from spark_jobs.selection.records import Records
from spark_jobs.storage.settle import DRIVER_ROWS
from spark_jobs.storage.warehouse import Warehouse

BASELINE = "uniform"
_PARTS = 1_000_000  # of the ids: so finely a share of them is taken


def compare_day(
    warehouse: Warehouse,
    ds: date,
    policies: dict[str, Policy],
    budgets: dict[str, Budget],
    draws: int,
) -> tuple[list[ComparisonLine], dict[str, int | float]]:
    """A line each policy and budget, and how many candidates they were judged on.

    Above `DRIVER_ROWS` rows a share of the ids stands for all of them. Raises NoDataError.
    """
    warehouse.require("forward_records", "labels", "refreshes")
    plan = plan_refresh(warehouse, ds)
    # As on that day: what was made since has counted the forward passes that would pay for it.
    made = [one for one in of_policy(warehouse, plan.policy) if one.ds < ds]
    budgets = {name: affordable(warehouse, plan, one, made)[0] for name, one in budgets.items()}
    with step(f"compare {ds}: gathering candidates"):
        records, in_sample, share = _candidates(warehouse, plan)
    policies = {name: on_records(policy, in_sample) for name, policy in policies.items()}
    seeds = [plan.seed + draw for draw in range(draws)]
    lines = []
    with step(f"compare {ds}", len(policies) * len(budgets), "policies and budgets") as judged:
        for line in compare(records, warehouse.pipeline.task, policies, budgets, seeds, share):
            log.info("%s", _shown(line))
            lines.append(line)
            judged.add()
    counts = {"candidates": records.size, "in_sample": in_sample, "draws": draws}
    return lines, counts | {"share_of_ids": share}


def _candidates(warehouse: Warehouse, plan: RefreshPlan) -> tuple[Records, int, float]:
    """The candidates, how many of them have no record but in sample, and the share of the ids that
    they are."""
    models = models_of(warehouse.pipeline, warehouse.root)
    changed = segments_changed(warehouse.pipeline, warehouse.root, plan.window_start)
    window = window_of(warehouse, plan, models.accepted, keys_of_instances=changed)
    rows = narrow(
        window.records,
        window.labels,
        plan.cut,
        sketch=True,
        rules=window.rules,
        maturity=warehouse.pipeline.labels,
    )
    some, share = _share_of_ids(rows, window.at_most)
    candidates, counts = assemble(some.toArrow(), plan.seed, None, models.learnt_until)
    if candidates.size == 0:
        raise NoDataError(
            f"--ds = {plan.ds}: no candidates from {plan.window_start} to {plan.ds}. Remedy: score"
            " and label these days first, or correct the date."
        )
    return candidates, counts.in_sample, share


def _share_of_ids(rows: DataFrame, at_most: int) -> tuple[DataFrame, float]:
    """As many ids as the driver holds, by a hash, and which share of all they are."""
    if at_most <= DRIVER_ROWS:
        return rows, 1.0
    kept = max(1, round(DRIVER_ROWS / at_most * _PARTS))
    log.info("%d rows: judged on %.1f %% of the ids", at_most, 100 * kept / _PARTS)
    place = F.pmod(F.xxhash64("instance_id", F.lit("compare")), F.lit(_PARTS))
    return rows.where(place < F.lit(kept)), kept / _PARTS


def _shown(line: ComparisonLine) -> str:
    return (
        f"{line.policy:<22} {line.budget:>12} {line.rows:>9,} rows"
        f"  predicted excess loss {line.wider_loss:.3g}"
        f" [{line.wider_range[0]:.3g}, {line.wider_range[1]:.3g}]"
    )


def table(lines: Sequence[ComparisonLine]) -> str:
    """The comparison as text, against the baseline at the same budget."""
    base = {line.budget: line for line in lines if line.policy == BASELINE}
    head = (
        f"{'policy':<22}{'budget':>12}{'rows':>10}{'sketch':>9}{'wider':>8}{'spread':>14}"
        f"{'n eff':>9}{'w max':>8}{'top 1 %':>9}{'segment':>9}"
    )
    body = []
    for line in lines:
        uniform = base[line.budget]
        sketch = _beside(line.sketch_loss, uniform.sketch_loss)
        wider, low, high = (
            _beside(value, uniform.wider_loss) for value in (line.wider_loss, *line.wider_range)
        )
        spread = "-" if uniform.wider_loss <= 0.0 else f"{low}-{high}"
        body.append(
            f"{line.policy:<22}{line.budget:>12}{line.rows:>10,}"
            f"{sketch:>9}{wider:>8}{spread:>14}"
            f"{line.effective_sample_size:>9,.0f}{line.max_weight:>8.1f}"
            f"{line.top_loss_kept:>9.1%}{line.least_segment:>9.2f}"
        )
    notes = (
        "sketch, wider: predicted excess loss, uniform at the same budget = 1; calibrated draws"
        " reproduce the sketch, so judge them by wider. - where uniform leaves none, all rows being"
        " drawn.\n"
        "n eff: Kish's effective size. segment: least share of a segment against its own."
    )
    return "\n".join([head, *body, notes])


def _beside(loss: float, uniform: float) -> str:
    """A loss where uniform's is 1; a dash where uniform's is none."""
    return f"{loss / uniform:.2f}" if uniform > 0.0 else "-"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(
        prog="tenforward compare",
        description="Which policy and budget suit a day's records, answered without training.",
    )
    add_common_arguments(line)
    line.add_argument("--ds", required=True, type=parse_date, help="the day whose end is the cut")
    line.add_argument(
        "--policies",
        default="uniform,calibrated",
        help="names; uniform is always among them, and what [selection] changes of its own policy"
        " holds for that one alone",
    )
    line.add_argument("--budgets", default="0.05,0.1,0.25", help='like 0.05,"0.1 per forward pass"')
    line.add_argument("--draws", type=int, default=5, help="draws of each, for the spread")
    line.add_argument("--plot", type=Path, help="file to draw to: .svg, .png or .pdf")
    return line


def _policies(pipeline: Pipeline, names: str) -> dict[str, Policy]:
    wanted = dict.fromkeys([BASELINE, *(name.strip() for name in names.split(","))])
    return {name: beside(pipeline, name) for name in wanted if name}


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> session -> comparison."""
    args = parser().parse_args(argv)
    pipeline = pipeline_of(args, writes=False)
    warehouse = Warehouse(args.warehouse, pipeline)
    if args.draws < 1:
        raise ConfigurationError(f"--draws = {args.draws}: must be at least 1. Remedy: raise it.")
    require_over(args.ds)
    policies = _policies(warehouse.pipeline, args.policies)
    budgets = {
        text.strip(): parse_budget(budget_text(text.strip())) for text in args.budgets.split(",")
    }
    lines, counts = compare_day(warehouse, args.ds, policies, budgets, args.draws)
    log.info("\n%s", table(lines))
    result: dict[str, Any] = {"status": "done", **counts, "lines": [asdict(line) for line in lines]}
    if args.plot is not None:
        draw_plot(lines, args.plot)
        result["plot"] = str(args.plot)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
