"""What the commands print of a refresh."""

from typing import Any

from schemas.log import about
from schemas.manifests import Manifest
from spark_jobs.report.card import current_card
from spark_jobs.report.data_checks import overall
from spark_jobs.storage.warehouse import Warehouse


def outcome(warehouse: Warehouse, status: str, manifest: Manifest) -> dict[str, Any]:
    """What the command prints of a refresh, from its manifest; a card that is missing is made."""
    about(
        pipeline=manifest.pipeline,
        ds=manifest.ds,
        refresh_id=manifest.refresh_id,
        table_version=manifest.sampled.version,
    )
    report, counts, allowance = manifest.report, manifest.counts, manifest.allowance
    return {
        "status": status,
        "refresh_id": manifest.refresh_id,
        "pipeline": manifest.pipeline,
        "ds": manifest.ds,
        "policy": manifest.policy,
        "seed": manifest.seed,
        "candidates": counts.candidates,
        "drawn": counts.drawn,
        "in_sample": report.get("in_sample"),
        "rejected": counts.rejected,
        "rejects": report.get("rejects", {}),
        "data": report.get("data", {}),
        "coverage": overall(report),
        "held_out": counts.held_out,
        "forward_passes": None if allowance is None else allowance.forward_passes,
        "backward_passes_planned": None if allowance is None else allowance.backward_passes,
        "sample_digest": manifest.sample_digest,
        "mean_loss_gap": report.get("mean_loss_gap"),
        "effective_sample_size": report.get("effective_sample_size"),
        "sampled": {"path": warehouse.path("sampled"), "version": manifest.sampled.version},
        "inputs": warehouse.placed(manifest.inputs.versions),
        "outputs": warehouse.placed(manifest.written()),
        "report_card": current_card(warehouse, manifest),
    }
