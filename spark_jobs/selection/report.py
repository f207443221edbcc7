"""The report card of a refresh: what the sample is, in numbers, summed block by block."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from spark_jobs.selection import histogram, tasks
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.designs import DESIGNS
from spark_jobs.selection.drift import distribution
from spark_jobs.selection.kernels import Choice, Plan, choose, digest
from spark_jobs.selection.mixture import component_variances
from spark_jobs.selection.policies import biased_by_design
from spark_jobs.selection.records import Records
from spark_jobs.selection.scores import Stats

AGES = 64  # days; older records are counted with the last
QUANTILES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
TOP_SHARE = 0.01


class BlockSample(NamedTuple):
    """Of one block: what tells its sample from another, and its drawn rows."""

    digest: bytes
    drawn: int


def card(
    index: int, records: Records, *, plan: Plan, newest: int
) -> tuple[BlockSample, dict[str, Any]]:
    """The sample of one block, and its sums; newest: the last event day of all candidates.

    Sums add up key by key, but for keys that begin with `least_` and `most_`.
    """
    choice = choose(index, records, plan)
    expansion = _expansion(choice, plan)
    sums = {
        **_sizes(choice),
        **_losses(choice, plan, expansion),
        **_gradients(choice, plan, expansion),
        **_groups(choice, plan, expansion, newest),
    }
    if plan.policy.score == "mixture":
        sums["mixture"] = component_variances(choice.records, plan)
    if plan.weighted:
        own = choice.records.row_weight
        sums |= {"own": own.sum(), "own_square": (own**2).sum(), "own_nothing": (own == 0.0).sum()}
    return BlockSample(digest(choice), int(choice.drawn.sum())), sums


def add_cards(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """The sums of two blocks as those of one."""
    how: dict[str, Callable[[Any, Any], Any]] = {"least": np.minimum, "most": np.maximum}
    return {name: how.get(name.split("_")[0], np.add)(a[name], b[name]) for name in a}


def _expansion(choice: Choice, plan: Plan) -> Array:
    """How many candidates each row stands for by the weight that it is trained with, (n,); 0 where
    it was not drawn or its label has not matured.

    An offset leaves weights to rows that stand for the tilted population: over pi they stand for
    all of it. Else a weight of 1 stands for N / k.
    """
    whole = choice.weight / (
        choice.pi.actual / choice.pi.stratified
        if plan.policy.weighting == "offset"
        else plan.scale.mean
    )
    return np.where(choice.drawn & choice.records.matured, whole, 0.0)


def _sizes(choice: Choice) -> dict[str, Any]:
    drawn, used = choice.drawn, choice.weight[choice.drawn]
    bins = histogram.bin_of(choice.pi.score)
    return {
        "candidates": drawn.size,
        "drawn": drawn.sum(),
        "probability": choice.pi.actual.sum(),
        "least_probability": choice.pi.actual.min(),
        "weight": used.sum(),
        "weight_square": (used**2).sum(),
        "most_weight": used.max(initial=0.0),
        "unmatured": (~choice.records.matured).sum(),
        "asked": (choice.records.propensity < 1.0).sum(),
        "stands_for": (1.0 / choice.records.propensity).sum(),
        "unmatured_drawn": (~choice.records.matured & drawn).sum(),
        "score_bins": np.bincount(bins, minlength=histogram.BINS),
        "score_bins_drawn": np.bincount(bins[drawn], minlength=histogram.BINS),
    }


def top_loss(stats: Stats) -> float:
    """The loss that one candidate in a hundred exceeds."""
    return histogram.quantile(stats.own_losses.sum(axis=0), 1.0 - TOP_SHARE)


def _losses(choice: Choice, plan: Plan, expansion: Array) -> dict[str, Any]:
    known = choice.records.matured
    pi, loss = choice.pi.actual[known], choice.loss[known]
    drawn, label = choice.drawn[known], choice.records.label[known]
    each, own = choice.stands_for[known], choice.records.row_weight[known]
    expansion = expansion[known][drawn]
    square = (loss - plan.mean_loss) ** 2
    top = loss >= top_loss(plan.sizing.stats)
    return {
        "known": each.sum(),
        "known_drawn": own[drawn].sum(),
        "loss": (loss * each).sum(),
        "loss_drawn": (loss * own)[drawn].sum(),
        "loss_expanded": (loss[drawn] * expansion).sum(),
        "expansion": expansion.sum(),
        "loss_variance": (square * each**2 * (1.0 - pi) / pi).sum(),
        "loss_variance_drawn": (square * own**2 * pi * (1.0 - pi)).sum(),
        "label": (label * each).sum(),
        "label_drawn": (label * own)[drawn].sum(),
        "top": top.sum(),
        "top_drawn": (top & drawn).sum(),
    }


def _gradients(choice: Choice, plan: Plan, expansion: Array) -> dict[str, Any]:
    records = choice.records
    residual = tasks.residual(plan.task, records.prediction, records.label)
    residual = residual * records.matured[:, None]
    each, pi = choice.stands_for, choice.pi.actual
    square = (residual**2).sum(axis=1) * each**2
    first = residual[:, 0]
    return {
        "residual": (first * each).sum(),
        "residual_expanded": (first * expansion).sum(),
        "gradient_square": square.sum(),
        "gradient_variance": (square * (1.0 - pi) / pi).sum(),
    }


def _groups(choice: Choice, plan: Plan, expansion: Array, newest: int) -> dict[str, Any]:
    records, drawn = choice.records, choice.drawn
    age = np.clip(newest - records.day, 0, AGES - 1)
    names = plan.vocabulary
    sums = {
        "versions": _counts(records.version, drawn, len(names.versions)),
        "ages": _counts(age, drawn, AGES),
    }
    each = np.where(records.matured, choice.stands_for, 0.0)
    loss = choice.loss * each
    for place, levels in enumerate(names.levels):
        code = records.segments[:, place]
        parts = (np.ones(drawn.size), drawn, each, loss, expansion, choice.loss * expansion)
        sums[f"segment{place}"] = np.stack(
            [np.bincount(code, weights=part, minlength=len(levels)) for part in parts]
        )
        least = np.ones(len(levels))
        np.minimum.at(least, code, choice.pi.actual)
        sums[f"least_segment{place}"] = least
    return sums


def _counts(code: Array, drawn: Array, groups: int) -> Array:
    """All and drawn rows by group, shape (2, groups)."""
    return np.stack(
        [np.bincount(code, minlength=groups), np.bincount(code[drawn], minlength=groups)]
    )


def report(sums: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """The report card, as JSON holds it, from the sums of all blocks."""
    n, k = plan.scale.count, plan.scale.budget
    drawn = max(int(sums["drawn"]), 1)
    return {
        "policy": _policy(plan),
        "candidates": n,
        "stands_for": float(sums["stands_for"]),
        "budget": k,
        "drawn": int(sums["drawn"]),
        "sum_probability": float(sums["probability"]),
        "design_exact": DESIGNS[plan.policy.design].exact,
        "biased_by_design": _biased(plan, int(sums["unmatured_drawn"])),
        "min_probability": float(sums["least_probability"]),
        "mean_weight": float(sums["weight"]) / drawn,
        "max_weight": float(sums["most_weight"]),
        **_effective(sums, drawn),
        **_loss_lines(sums, n),
        "residual_gap": float(sums["residual_expanded"] - sums["residual"]) / n,
        "variance_ratio": _variance_ratio(sums, n, k),
        "unmatured_share": float(sums["unmatured"]) / n,
        "unmatured_drawn": int(sums["unmatured_drawn"]),
        "asked": int(sums["asked"]),
        **_row_weights(sums, n),
        "score_quantiles": {
            "all": _quantiles(sums["score_bins"]),
            "drawn": _quantiles(sums["score_bins_drawn"]),
        },
        "loss_distribution": distribution(plan.sizing.stats.own_losses.sum(axis=0)),
        "versions": _shares(sums["versions"], plan.vocabulary.versions),
        "ages": _shares(sums["ages"], tuple(map(str, range(AGES)))),
        "segments": [
            line
            for place, levels in enumerate(plan.vocabulary.levels)
            for line in _segment_lines(sums, place, levels, drawn)
        ],
    }


def _biased(plan: Plan, unmatured: int) -> str | None:
    """Why the sample is no estimate of all candidates, in sentences; None if it is one."""
    whole = plan.scale.budget == plan.scale.count
    stand_ins = (
        f"Biased by design: {unmatured:,} drawn rows carry the label that stands in until one"
        " matures."
    )
    reasons = [None if whole else biased_by_design(plan.policy), stand_ins if unmatured else None]
    return " ".join(reason for reason in reasons if reason) or None


def _policy(plan: Plan) -> dict[str, Any]:
    policy = plan.policy
    return {
        "name": policy.name,
        "score": policy.score,
        "design": policy.design,
        "weighting": policy.weighting,
        "floor": policy.floor,
        "calibrated": policy.calibrated,
    }


def _effective(sums: dict[str, Any], drawn: int) -> dict[str, float]:
    """Kish 1965: (sum w)^2 / sum w^2, and how many times fewer than the drawn rows that is."""
    square = float(sums["weight_square"])
    size = float(sums["weight"]) ** 2 / square if square > 0.0 else 0.0
    return {"effective_sample_size": size, "design_effect": drawn / size if size > 0.0 else 0.0}


def _row_weights(sums: dict[str, Any], n: int) -> dict[str, Any]:
    """Of the rows' own weights, where they have any: the mean, how many are 0, and the share of all
    candidates that Kish's effective size leaves of them."""
    if "own" not in sums:
        return {}
    total, square = float(sums["own"]), float(sums["own_square"])
    return {
        "row_weight": {
            "mean": total / n,
            "zero": int(sums["own_nothing"]),
            "effective_share": total**2 / (n * square) if square > 0.0 else 0.0,
        }
    }


def _loss_lines(sums: dict[str, Any], n: int) -> dict[str, float]:
    known, drawn = float(sums["known"]) or 1.0, float(sums["known_drawn"]) or 1.0
    mean = float(sums["loss"]) / known
    plain = float(sums["loss_drawn"]) / drawn
    weighted = float(sums["loss_expanded"] / sums["expansion"]) if sums["expansion"] else mean
    return {
        "mean_loss": mean,
        "mean_loss_drawn": plain,
        "mean_loss_drawn_z": _z(plain - mean, float(sums["loss_variance_drawn"]) / drawn**2),
        "mean_loss_estimate": weighted,
        "mean_loss_gap": weighted - mean,
        "mean_loss_gap_z": _z(weighted - mean, float(sums["loss_variance"]) / known**2),
        "mean_label": float(sums["label"]) / known,
        "mean_label_drawn": float(sums["label_drawn"]) / drawn,
        "top_loss_rows": int(sums["top"]),
        "top_loss_drawn": int(sums["top_drawn"]),
    }


def _z(gap: float, variance: float) -> float:
    """A gap in standard deviations of a Poisson draw with the same probabilities."""
    return gap / variance**0.5 if variance > 0.0 else 0.0


def _variance_ratio(sums: dict[str, Any], n: int, k: int) -> float:
    """Sum of (1 - pi) / pi |r|^2, which the weighted gradient's variance is, against uniform's."""
    uniform = (1 - k / n) / (k / n) * float(sums["gradient_square"])
    return float(sums["gradient_variance"]) / uniform if uniform > 0.0 else 1.0


def _quantiles(counts: Array) -> dict[str, float]:
    if not counts.sum():
        return {}
    return {str(q): histogram.quantile(counts, q) for q in QUANTILES}


def _shares(counts: Array, names: tuple[str, ...]) -> dict[str, dict[str, int]]:
    lines = zip(names, *counts.tolist(), strict=True)
    return {name: {"candidates": rows, "drawn": drawn} for name, rows, drawn in lines if rows}


def _segment_lines(
    sums: dict[str, Any], place: int, levels: tuple[str, ...], total: int
) -> list[dict[str, Any]]:
    lines = []
    least = sums[f"least_segment{place}"]
    for code, level in enumerate(levels):
        rows, drawn, known, loss, expansion, expanded = sums[f"segment{place}"][:, code].tolist()
        gap = expanded / expansion - loss / known if expansion and known else None
        lines.append(
            {
                "segment": f"segment{place}",
                "level": level,
                "candidates": int(rows),
                "drawn": int(drawn),
                "share": rows / float(sums["candidates"]),
                "share_drawn": drawn / total,
                "min_probability": float(least[code]),
                "loss_gap": gap,
            }
        )
    return lines
