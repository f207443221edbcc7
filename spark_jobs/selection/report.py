"""The report card of a refresh: what the sample is, in numbers, summed block by block."""

from typing import NamedTuple

import numpy as np

from spark_jobs.selection import calibration
from spark_jobs.selection import records as rec
from spark_jobs.selection.arrays import Array
from spark_jobs.selection.designs import DESIGNS
from spark_jobs.selection.kernels import Plan, decided, digest, drawn_totals
from spark_jobs.selection.records import Records


class Segment(NamedTuple):
    """Of one block and segment key: rows, drawn rows, smallest probability, loss sums."""

    rows: int
    drawn: int
    min_probability: float


class Card(NamedTuple):
    """Of one block: the sums the report card is made of."""

    digest: bytes
    sums: dict[str, float]
    least_probability: float
    largest_weight: float
    segments: dict[str, Segment]
    totals: calibration.Totals | None


def card(index: int, records: Records, *, plan: Plan) -> Card:
    """Sums of one block."""
    choice, weight = decided(index, records, plan)
    drawn, pi, loss = choice.drawn, choice.pi.actual, choice.loss
    used, expansion = weight[drawn], 1.0 / pi[drawn]
    prediction = records.prediction
    residual = rec.residual(plan.task, prediction, records.label)[:, 0]
    sums = {
        "candidates": float(records.size),
        "drawn": float(drawn.sum()),
        "probability": float(pi.sum()),
        "weight": float(used.sum()),
        "weight_square": float((used**2).sum()),
        "loss": float(loss.sum()),
        "loss_drawn": float(loss[drawn].sum()),
        "loss_expanded": float((loss[drawn] * expansion).sum()),
        "expansion": float(expansion.sum()),
        "label": float(records.label.sum()),
        "label_drawn": float(records.label[drawn].sum()),
        "residual": float(residual.sum()),
        "residual_expanded": float((residual[drawn] * expansion).sum()),
        "variance": float(((1 - pi) / pi * choice.pi.score**2).sum()),
        "score_square": float((choice.pi.score**2).sum()),
    }
    return Card(
        digest=digest(records, choice, weight),
        sums=sums,
        least_probability=float(pi.min()),
        largest_weight=float(used.max(initial=0.0)),
        segments=_segments(records, drawn, pi),
        totals=drawn_totals(index, records, plan=plan).totals,
    )


def _segments(records: Records, drawn: Array, pi: Array) -> dict[str, Segment]:
    keys = np.array(["/".join(k) for k in records.segments], dtype=object)
    found: dict[str, Segment] = {}
    for key in sorted(set(keys.tolist())):
        rows = keys == key
        found[key] = Segment(int(rows.sum()), int(drawn[rows].sum()), float(pi[rows].min()))
    return found


def report(cards: list[Card], plan: Plan) -> dict[str, object]:
    """The report card from the cards of all blocks, in block order."""
    sums = {name: sum(card.sums[name] for card in cards) for name in cards[0].sums}
    n, k = plan.scale.count, plan.scale.budget
    mean_loss = sums["loss"] / n
    uniform_variance = (1 - k / n) / (k / n) * sums["score_square"]
    result: dict[str, object] = {
        "candidates": n,
        "budget": k,
        "drawn": int(sums["drawn"]),
        "sum_probability": sums["probability"],
        "design_exact": DESIGNS[plan.policy.design].exact,
        "min_probability": min(card.least_probability for card in cards),
        "mean_weight": sums["weight"] / k,
        "max_weight": max(card.largest_weight for card in cards),
        "effective_sample_size": sums["weight"] ** 2 / sums["weight_square"],
        "mean_loss": mean_loss,
        "mean_loss_drawn": sums["loss_drawn"] / k,
        "mean_loss_estimate": sums["loss_expanded"] / sums["expansion"],
        "mean_loss_gap": sums["loss_expanded"] / sums["expansion"] - mean_loss,
        "mean_label": sums["label"] / n,
        "mean_label_drawn": sums["label_drawn"] / k,
        "residual_gap": (sums["residual_expanded"] - sums["residual"]) / n,
        "variance_ratio": sums["variance"] / uniform_variance if uniform_variance else 1.0,
        "segments": _merge(cards),
    }
    blocks = [card.totals for card in cards if card.totals is not None]
    if plan.columns is not None:
        result["calibration"] = calibration.achieved(blocks, k, plan.columns.names)
    return result


def _merge(cards: list[Card]) -> dict[str, dict[str, float]]:
    merged: dict[str, Segment] = {}
    for one in cards:
        for key, new in one.segments.items():
            old = merged.get(key, Segment(0, 0, 1.0))
            least = min(old.min_probability, new.min_probability)
            merged[key] = Segment(old.rows + new.rows, old.drawn + new.drawn, least)
    return {key: merged[key]._asdict() for key in sorted(merged)}
