"""The table that `make demo` ends with: by week what was spent, and how each arm answered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from demo.outcome import CONFIDENCE, difference, mean_loss, verdict
from demo.stream import between, labelled
from demo.twins import WEEK, Week
from inference.registered import find_version
from inference.scorer import load_scorer
from schemas.ledger import beside, in_words, ledger_of, read_spent
from schemas.manifests import Manifest
from spark_jobs.selection.tasks import loss
from spark_jobs.storage.warehouse import Warehouse
from trainer.models.export import Loaded, load_bundle

COLUMNS = {"champion": "champion", "uniform": "uniform", "all": "all once", "never": "never"}


def first_model(warehouse: Warehouse, version: str) -> Loaded:
    """A registered model as twins begin with it."""
    folder = find_version(warehouse.pipeline.name, version, warehouse.root).folder
    return load_bundle(Path(folder))


def served(
    warehouse: Warehouse, flights: pa.Table, refreshes: Sequence[Manifest], versions: Sequence[str]
) -> list[Week]:
    """The weeks of a registered line of models: `versions` serve after each of the refreshes.

    Passes are those of the ledger; the losses those of the programs that serve.
    """
    spent = read_spent(warehouse.root)
    weeks = []
    for refresh, version in zip(refreshes, versions, strict=True):
        cost = ledger_of([refresh], spent)
        day = refresh.ds + timedelta(days=1)
        asked = labelled(between(flights, day, refresh.ds + WEEK))
        weeks.append(
            Week(
                ds=refresh.ds,
                forward_passes=cost["forward_passes"],
                backward_passes=cost["backward_passes_spent"],
                promoted=True,
                flights=asked.num_rows,
                loss=_loss(warehouse, version, asked),
            )
        )
    return weeks


def _loss(warehouse: Warehouse, version: str, asked: pa.Table) -> float:
    """Mean log loss of a registered version's program."""
    scorer = load_scorer(find_version(warehouse.pipeline.name, version, warehouse.root).folder)
    inputs = {one.name: asked[one.name].to_numpy() for one in scorer.card.features}
    label = asked["label"].to_numpy().astype(np.float64)
    return float(loss(warehouse.pipeline.task, scorer.score(inputs).prediction, label).mean())


@dataclass(frozen=True)
class Outcome:
    """All that the demonstration has measured, a closed loop each.

    product: weeks of `champion` and of `never`, the model before the first of them. twins: by arm
    and seed; seed 0 is that of the pipeline file.
    """

    policy: str
    product: Mapping[str, Sequence[Week]]
    twins: Mapping[str, Sequence[Sequence[Week]]]

    def columns(self) -> dict[str, Sequence[Week]]:
        """The lines of models that stand side by side."""
        uniform, everything = self.twins["uniform"][0], self.twins["all"][0]
        champion, never = self.product["champion"], self.product["never"]
        return {"champion": champion, "uniform": uniform, "all": everything, "never": never}


def rendered(outcome: Outcome) -> str:
    """The table as text, and below it what the seeds say."""
    columns = outcome.columns()
    head = "".join(f"{title:>10}" for title in COLUMNS.values())
    lines = [
        f"{'':<34}log loss of the week after",
        f"{'week to':<12}{'forward':>9}{'backward':>10}  {head}",
    ]
    for place, week in enumerate(columns["champion"]):
        losses = [columns[name][place].loss for name in COLUMNS]
        lines.append(_line(str(week.ds), week.forward_passes, week.backward_passes, losses))
    own = columns["champion"]
    forward, backward = (sum(part) for part in zip(*map(_passes, own), strict=True))
    means = [mean_loss(columns[name]) for name in COLUMNS]
    lines.append(_line("all weeks", forward, backward, means))
    return "\n".join([*lines, "", *_words(outcome)])


def _line(name: str, forward: int, backward: int, losses: Sequence[float]) -> str:
    return f"{name:<12}{forward:>9,}{backward:>10,}  " + "".join(f"{one:>10.4f}" for one in losses)


def _passes(week: Week) -> tuple[int, int]:
    return week.forward_passes, week.backward_passes


def _words(outcome: Outcome) -> list[str]:
    """What the columns are, and the difference of the twins."""
    columns, policy = outcome.columns(), outcome.policy
    spent = {name: sum(week.backward_passes for week in columns[name]) for name in columns}
    own, uniform = outcome.twins[policy], outcome.twins["uniform"]
    apart = difference(own, uniform)
    lower = sum(mean_loss(a) < mean_loss(b) for a, b in zip(own, uniform, strict=True))
    flights = sum(week.flights for week in columns["champion"])
    return [
        f"Of {flights:,} flights of the weeks after, which weigh the same; lower is better.",
        f"champion: the product's loop, policy {policy}, {spent['champion']:,} backward passes;"
        f" its twin in memory ends at {mean_loss(own[0]):.4f}",
        f"uniform:  its own loop, drawn uniformly, {spent['uniform']:,} backward passes",
        f"all once: its own loop, every candidate of the week once, {spent['all']:,}",
        "never:    the first model, never retrained",
        "",
        f"{policy} - uniform, {len(own)} seeds, two closed loops each: {apart.value:+.4f},"
        f" {CONFIDENCE:.0%} interval [{apart.low:+.4f}, {apart.high:+.4f}];"
        f" lower in {lower} of {len(own)}",
        verdict(policy, apart),
        f"The interval is over seeds, of one stream and {len(columns['champion'])} weeks: it does"
        " not say what other weeks would bring.",
    ]


def ledger_lines(warehouse: Warehouse, refreshes: Sequence[Manifest]) -> str:
    """The ledger as the warehouse has it."""
    spent = read_spent(warehouse.root)
    outside: dict[str, Any] = {name: count for name, count in beside(spent).items() if count}
    return (
        f"The ledger: {in_words(ledger_of(refreshes, spent))}.\n"
        f"Outside it: {', '.join(f'{name} {count:,}' for name, count in outside.items())}."
    )
