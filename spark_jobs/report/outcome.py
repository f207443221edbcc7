"""What the commands print of a refresh."""

import json
from typing import Any

from schemas.command import (
    about,
)
from spark_jobs.report.card import current_card
from spark_jobs.storage.warehouse import Warehouse


def result(warehouse: Warehouse, status: str, entry: dict[str, Any]) -> dict[str, Any]:
    """What the command prints of a refresh, from its manifest; a card that is missing is made."""
    shown = ("refresh_id", "pipeline", "ds", "policy", "seed", "candidates", "drawn", "rejected")
    report = json.loads(entry["report"])
    lineage = {name: entry[name] for name in ("pipeline", "ds", "refresh_id")}
    about(**lineage, table_version=entry["sampled_version"])
    return {
        "status": status,
        **{name: entry[name] for name in shown},
        "rejects": report.get("rejects", {}),
        "held_out": entry["held_out"],
        "sample_digest": entry["sample_digest"],
        "mean_loss_gap": report.get("mean_loss_gap"),
        "effective_sample_size": report.get("effective_sample_size"),
        "sampled": {"path": warehouse.path("sampled"), "version": entry["sampled_version"]},
        "report_card": current_card(warehouse, entry),
    }
