"""Estimate: a mean over all instances of a refresh's window, from what is known of the drawn.

    tenforward estimate --pipeline pipelines/flights.toml --refresh REFRESH --challenger 7

    tenforward estimate --pipeline pipelines/flights.toml --refresh REFRESH --list asked.csv
    tenforward estimate --pipeline pipelines/flights.toml --refresh REFRESH \\
        --answers asked.csv --value harmful --by origin

The first lets a registered version answer for the drawn rows alone, a tenth of the forward passes,
and says what its loss is on all of them. The others ask somebody else about the drawn rows.
"""

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from inference.registered import RegisteredVersion, find_version
from schemas.all_traffic import AllTraffic, keep, loss_of, require_equal_rows
from schemas.command import add_common_arguments, pipeline_of, run_command
from schemas.errors import ConfigurationError
from schemas.log import about, log
from schemas.manifests import Manifest
from schemas.progress import step
from schemas.registry import mlflow_client
from schemas.shared_columns import MAX_LOGITS
from spark_jobs.candidates.drawn_from import asked_frame
from spark_jobs.estimation.all_traffic import (
    ANCHOR,
    CHALLENGER,
    CHAMPION,
    by_segment,
    measured,
    with_increases,
)
from spark_jobs.estimation.answers import read_answers, with_answers, write_list
from spark_jobs.estimation.asked import stands_for
from spark_jobs.estimation.estimate import Known, Line, known_of, lines
from spark_jobs.estimation.frame import KNOWN, answer_column, frame_from, segment_column
from spark_jobs.judging.challenged import answered, compared, frame
from spark_jobs.judging.judged_by import refresh_to_judge_by, unmatured_outside
from spark_jobs.storage.warehouse import Warehouse

GAIN = "difference"  # of a challenger's loss and that of the record, on one row


def predictors(rows: pa.Table, task: str) -> list[str]:
    """Auxiliaries that suit most values: the loss, and the gradient's sketch by which `calibrated`
    weighs as well. With a change in the logit that is linear in sketch and segments, the difference
    of two losses is to first order the residual times that change."""
    sketched = ["sketch"] if rows["sketch"].null_count == 0 else []
    if rows["label"].null_count:
        return ["score", *([] if task == "multiclass" else ["prediction"]), "segments", *sketched]
    if task == "multiclass":
        return ["loss", "segments"]
    return ["loss", "label", "residual", *(f"residual*{of}" for of in ("segments", *sketched))]


def told(line: Line, confidence: float) -> dict[str, Any]:
    """A line of the result."""
    counted = {"group": line.group, "rows": line.rows, "drawn": line.drawn}
    if line.found is None:
        return counted
    found = line.found
    simple = 2 * NormalDist().inv_cdf((1 + confidence) / 2) * found.simple_random_error
    return counted | {
        "estimate": found.value,
        "standard_error": found.standard_error,
        "low": found.low,
        "high": found.high,
        "width_to_simple_random": (found.high - found.low) / simple if simple else None,
    }


def served(rows: pa.Table, by: str | None) -> dict[Any, float]:
    """The mean loss of what the records of each group stand for: known of all rows."""
    each = stands_for(rows)
    each = np.ones(rows.num_rows) if each is None else each
    sums = pa.table(
        {
            "group": pa.nulls(rows.num_rows) if by is None else rows[by],
            "loss": rows["loss"].to_numpy() * each,
            "each": each,
        }
    )
    sums = sums.group_by("group").aggregate([("loss", "sum"), ("each", "sum")])
    means = pc.divide(sums["loss_sum"], sums["each_sum"])
    return dict(zip(sums["group"].to_pylist(), means.to_pylist(), strict=True))


def estimated(warehouse: Warehouse, args: argparse.Namespace) -> dict[str, Any]:
    """The frame, what is asked of it, and the result of the command."""
    result: dict[str, Any] = {"status": "done", "pipeline": warehouse.pipeline.name}
    manifest = None
    if args.asked is not None:
        segments = tuple(warehouse.pipeline.instances.segments)
        with step(f"reading what {args.asked} was drawn from"):
            rows = asked_frame(warehouse, args.asked).toArrow()
        whole = frame_from(rows, warehouse.pipeline.task, segments)
        result |= {"ask_id": args.asked}
    else:
        manifest = refresh_to_judge_by(warehouse, args.refresh)
        with step(f"reading what {manifest.refresh_id} was drawn from"):
            models = models_asked(warehouse, manifest, args)
            whole = frame(warehouse, manifest, [model.version for model in models.values()])
        result |= {
            "refresh_id": manifest.refresh_id,
            "policy": manifest.policy,
            "unmatured_outside": unmatured_outside(manifest),
        }
    if args.list is not None:
        asked = write_list(whole, args.list)
        return result | {"list": str(args.list), "asked": asked, "frame": whole.counts}
    if args.challenger is not None and manifest is not None:
        names = ", ".join(f"version {model.version}" for model in models.values())
        with step(f"{whole.counts['drawn']:,} forward passes of {names}"):
            whole = answered(warehouse, manifest, whole, models)
        gain = pc.subtract(whole.rows[f"{CHALLENGER}_loss"], whole.rows["loss"])
        whole = whole._replace(rows=whole.rows.append_column(GAIN, gain))
    else:
        columns = [args.value, *([args.over] if args.over else [])]
        whole = with_answers(whole, read_answers(args.answers, columns))
    value = GAIN if args.challenger is not None else answer_column(args.value)
    over = None if args.over is None else answer_column(args.over)
    by = None if args.by is None else segment_column(args.by)
    auxiliary = args.auxiliary or predictors(whole.rows, warehouse.pipeline.task)
    with warnings_logged():
        known = known_of(whole.rows, auxiliary)
        found = lines(known, value, by, args.confidence, over)
    told_of = [told(line, args.confidence) for line in found]
    result |= {"value": args.value or value, "auxiliary": auxiliary, "confidence": args.confidence}
    if args.challenger is not None:
        means = served(whole.rows, by)
        told_of = [_as_losses(one, means[one["group"]]) for one in told_of]
        result |= {"challenger": args.challenger, "forward_passes": whole.counts["drawn"]}
    if args.for_gate and manifest is not None:
        with warnings_logged():
            result |= kept_for_the_gate(warehouse, manifest, with_increases(known), models)
    return result | {"frame": whole.counts, "estimates": told_of}


@contextmanager
def warnings_logged() -> Iterator[None]:
    """What is said of estimates goes to the log."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        yield
    for warning in said:
        log.warning("%s", warning.message)


def models_asked(
    warehouse: Warehouse, manifest: Manifest, args: argparse.Namespace
) -> dict[str, RegisteredVersion]:
    """The versions that answer for the drawn rows, by what they are."""
    if args.for_gate:
        return compared(warehouse, manifest, args.challenger)
    if args.challenger is None:
        return {}
    name = warehouse.pipeline.name
    return {CHALLENGER: find_version(name, args.challenger, warehouse.root)}


def kept_for_the_gate(
    warehouse: Warehouse,
    manifest: Manifest,
    known: Known,
    models: dict[str, RegisteredVersion],
) -> dict[str, Any]:
    """What the gate asks, measured and kept with the challenger's run; what is told of it."""
    pipeline, confidence = warehouse.pipeline, warehouse.pipeline.gate.confidence
    version = {of: models[of].version if of in models else None for of in (CHAMPION, ANCHOR)}
    found = AllTraffic(
        refresh_id=manifest.refresh_id,
        challenger=models[CHALLENGER].version,
        champion=version[CHAMPION],
        anchor=version[ANCHOR],
        confidence=confidence,
        loss=loss_of(pipeline),
        rows=known.drawn.size,
        drawn=int(known.drawn.sum()),
        measured=measured(known, confidence),
        segments=by_segment(known, pipeline.instances.segments, confidence),
    )
    client = mlflow_client(warehouse.root)
    keep(client, str(client.get_model_version(pipeline.name, found.challenger).run_id), found)
    return {"champion": found.champion, "anchor": found.anchor, "for_gate": found.measured}


def _as_losses(one: dict[str, Any], mean: float) -> dict[str, Any]:
    """A line of differences, with the losses that they lie between."""
    if "estimate" not in one:
        return one | {"served_loss": mean}
    return one | {"served_loss": mean, "challenger_loss": mean + one["estimate"]}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(
        prog="tenforward estimate",
        description="A mean over all instances of a refresh's window, from its drawn ones.",
    )
    add_common_arguments(line)
    whose = line.add_mutually_exclusive_group(required=True)
    whose.add_argument("--refresh", help="whose draw, as status lists them")
    whose.add_argument("--asked", metavar="ASK", help="or that of `select --unlabelled`")
    what = line.add_mutually_exclusive_group(required=True)
    what.add_argument("--challenger", metavar="V", help="the loss of this version of the model")
    what.add_argument(
        "--answers",
        type=Path,
        metavar="FILE",
        help="what was asked of the drawn: Parquet or CSV with instance_id",
    )
    what.add_argument(
        "--list", type=Path, metavar="FILE", help="write the drawn instances, to ask about"
    )
    line.add_argument(
        "--for-gate",
        action="store_true",
        help="with --challenger: beside champion and anchor, kept for `register --version`",
    )
    line.add_argument("--value", help="column of --answers whose mean is estimated")
    line.add_argument("--over", help="a second one, for the ratio of both totals")
    line.add_argument("--by", metavar="SEGMENT", help="a mean for each level of this segment")
    line.add_argument(
        "--auxiliary",
        type=_names,
        metavar="A,B",
        help=f"what is known of every row, among {', '.join(KNOWN)}, or products such as"
        " residual*sketch; of these as many as the drawn rows bear, in the order given"
        " (default: by the task)",
    )
    line.add_argument("--confidence", type=float, default=0.95)
    return line


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """Arguments -> session -> estimate."""
    args = parser().parse_args(argv)
    pipeline = pipeline_of(args, writes=False)
    about(pipeline=pipeline.name, refresh_id=args.refresh or args.asked)
    if args.asked is not None and args.challenger is not None:
        raise ConfigurationError(
            "--challenger: it is judged by labels, and those of --asked are not known. Remedy: name"
            " a refresh, or give their labels by --answers."
        )
    if args.for_gate and args.challenger is None:
        raise ConfigurationError("--for-gate: of whom is not said. Remedy: add --challenger.")
    if args.for_gate:
        require_equal_rows(pipeline, "--for-gate")
    if args.for_gate and (pipeline.labels.classes or 0) > MAX_LOGITS:
        raise ConfigurationError(
            f"--for-gate: labels.classes = {pipeline.labels.classes}, and of more than {MAX_LOGITS}"
            " a loss is known but nearly. Remedy: leave it to the held-out rows."
        )
    if args.answers is not None and args.value is None:
        raise ConfigurationError(
            "--answers: which of its columns is not said. Remedy: add --value."
        )
    if args.answers is None and (args.value or args.over):
        raise ConfigurationError("--value, --over: of no use without --answers. Remedy: drop them.")
    parts = [part for name in args.auxiliary or () for part in name.split("*")]
    unknown = [name for name in parts if name not in KNOWN]
    if unknown:
        raise ConfigurationError(
            f"--auxiliary = {unknown[0]}: not known of every row. Remedy: choose among"
            f" {', '.join(KNOWN)}, or a product such as residual*sketch."
        )
    segments = pipeline.instances.segments
    if args.by is not None and args.by not in segments:
        raise ConfigurationError(
            f"--by = {args.by}: no segment of this pipeline. Remedy: choose among"
            f" {', '.join(segments) or 'none: name some in [instances].segments'}."
        )
    warehouse = Warehouse(args.warehouse, pipeline)
    warehouse.require(*warehouse.tables)
    return estimated(warehouse, args)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
