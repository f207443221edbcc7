"""What decides a draw beside the tables, the configuration and the seed: looked up once, pinned."""

from functools import partial

from schemas.allowance import Allowance
from schemas.errors import ConfigurationError
from schemas.manifests import Decided, Manifest, read_manifests
from schemas.sections.budget import parse_budget
from spark_jobs.refresh.affordable import affordable
from spark_jobs.refresh.defined import segments_changed
from spark_jobs.refresh.plan import RefreshPlan
from spark_jobs.refresh.registered import models_of
from spark_jobs.selection.engine import ENGINE
from spark_jobs.selection.policies import configured
from spark_jobs.storage.warehouse import Warehouse
from spark_jobs.storage.while_starting import while_starting

# Which release has which engine, for those who want an older refresh again.
RELEASES = {1: "0.1"}


def decide(
    warehouse: Warehouse, plan: RefreshPlan, *, starts: bool = False
) -> tuple[Decided, Allowance]:
    """What decides the draw of a day, as things are now, and what pays for it.

    starts: whether Spark is needed next, and may start while the registry is asked. Raises what
    `affordable` raises.
    """
    budget = parse_budget(warehouse.pipeline.selection.budget)
    rows, allowance = affordable(warehouse, plan, budget)
    parts, before = configured(warehouse.pipeline).mixture, _mixture_before(warehouse, plan)
    ask = partial(models_of, warehouse.pipeline, warehouse.root)
    models = while_starting(warehouse, ask) if starts else ask()
    decided = Decided(
        budget=str(rows),
        engine=ENGINE,
        mixture=dict(parts) if before is None else before.report["mixture"]["next"],
        mixture_from=None if before is None else before.refresh_id,
        model_versions=models.accepted,
        learnt_until=models.learnt_until,
        keys_of_instances=segments_changed(warehouse.pipeline, warehouse.root, plan.window_start),
        elsewhere=warehouse.pins_elsewhere(),
    )
    return decided, allowance


def _mixture_before(warehouse: Warehouse, plan: RefreshPlan) -> Manifest | None:
    """The newest refresh before this day that left weights for the policy's mixture."""
    parts = configured(warehouse.pipeline).mixture
    if not parts:
        return None
    policy = warehouse.pipeline.selection.policy
    for earlier in read_manifests(warehouse.path("refreshes"), policy=policy):
        left = earlier.report.get("mixture", {}).get("next", {})
        if earlier.ds < plan.ds and left.keys() == parts.keys():
            return earlier
    return None


def decided_then(manifest: Manifest) -> Decided:
    """What decided the draw of a refresh, from its manifest alone.

    Raises ConfigurationError where another engine drew; what has a manifest of format 1, which does
    not tell, was drawn by the first.
    """
    decided = manifest.decided
    engine = 1 if decided is None else decided.engine
    if decided is None or engine != ENGINE:
        release = RELEASES.get(engine, "a later one")
        raise ConfigurationError(
            f"refresh {manifest.refresh_id}: drawn by version {engine} of the selection"
            f" engine, this release has {ENGINE} and would draw another sample. Remedy: rebuild it"
            f" with tenforward {release}, or replace it with --force."
        )
    return decided
