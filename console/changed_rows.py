"""The candidates of two refreshes side by side: who came and went, who was drawn, what moved."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable as Snapshot
from deltalake.exceptions import DeltaError

from schemas.manifests import Manifest
from schemas.places import within
from schemas.stored import stored
from schemas.tables import selection_probabilities

_COLUMNS = ["instance_id", "model_version", "label", "loss", "probability", "drawn", "weight"]
_MOST = 10  # rows that are named
_SAME = 1e-9  # probabilities closer than that are the same


def candidates_of(manifest: Manifest, warehouse: str) -> pa.Table | None:
    """The candidates of a refresh; None where its rows have expired.

    Where the version that its manifest names is gone, the newest has them too.
    """
    path, definition = within(warehouse, "selection_probabilities"), selection_probabilities()
    part = [("refresh_id", "=", manifest.refresh_id)]
    for version in dict.fromkeys((manifest.probabilities_version, None)):
        try:
            found = stored(Snapshot(path, version=version), definition.arrow_schema, part)
            if found is not None:
                return found.to_table(columns=_COLUMNS)
        except (DeltaError, OSError):  # this version is gone
            continue
    return None


def changed_rows(a: pa.Table, b: pa.Table) -> dict[str, Any]:
    """Counts of the candidates of both, and those whose probability moved most.

    other_record: of the candidates of both, those whose record was another model's.
    """
    at = pc.index_in(a["instance_id"], value_set=b["instance_id"])
    mine = a.filter(pc.is_valid(at))
    theirs = b.take(at.drop_null())
    moved = _numbers(theirs, "probability") - _numbers(mine, "probability")
    drawn_a, drawn_b = (np.asarray(rows["drawn"]) for rows in (mine, theirs))
    both = int((drawn_a & drawn_b).sum())
    rows = {
        "candidates_both": mine.num_rows,
        "candidates_only_a": a.num_rows - mine.num_rows,
        "candidates_only_b": b.num_rows - mine.num_rows,
        "drawn_both": both,
        "drawn_only_a": _sum(a, "drawn") - both,
        "drawn_only_b": _sum(b, "drawn") - both,
        "probability_moved": int((np.abs(moved) > _SAME).sum()),
        "mean_move": float(np.abs(moved).mean()) if moved.size else 0.0,
        "other_record": _differing(mine, theirs, "model_version"),
        "other_label": _differing(mine, theirs, "label"),
    }
    return {"rows": rows, "moved_most": _moved_most(mine, theirs, moved)}


def totals(manifest: Manifest, rows: pa.Table | None) -> dict[str, float | None]:
    """Sums and means of a refresh; those of its rows are None where these have expired."""
    counts = manifest.counts
    told: dict[str, float | None] = {
        "candidates": counts.candidates,
        "drawn": counts.drawn,
        "held_out": counts.held_out,
        "rejected": counts.rejected,
    }
    drawn = None if rows is None else rows.filter(rows["drawn"])
    for name, of, column, how in (
        ("sum_probability", rows, "probability", pc.sum),
        ("sum_weight", drawn, "weight", pc.sum),
        ("mean_label", rows, "label", pc.mean),
        ("mean_label_drawn", drawn, "label", pc.mean),
        ("mean_loss", rows, "loss", pc.mean),
        ("mean_loss_drawn", drawn, "loss", pc.mean),
    ):
        told[name] = None if of is None else how(of[column]).as_py()
    return told


def _moved_most(a: pa.Table, b: pa.Table, moved: Any) -> list[dict[str, Any]]:
    most = np.argsort(-np.abs(moved), kind="stable")[:_MOST]
    places = pa.array(most[np.abs(moved[most]) > _SAME], pa.int64())
    pairs = zip(a.take(places).to_pylist(), b.take(places).to_pylist(), strict=True)
    return [
        {
            "instance_id": one["instance_id"],
            "probability_a": one["probability"],
            "probability_b": other["probability"],
            "drawn_a": one["drawn"],
            "drawn_b": other["drawn"],
        }
        for one, other in pairs
    ]


def _numbers(rows: pa.Table, name: str) -> Any:
    return rows[name].to_numpy()


def _sum(rows: pa.Table, name: str) -> int:
    return int(pc.sum(rows[name], min_count=0).as_py())


def _differing(a: pa.Table, b: pa.Table, name: str) -> int:
    return int(pc.sum(pc.not_equal(a[name], b[name]), min_count=0).as_py())
