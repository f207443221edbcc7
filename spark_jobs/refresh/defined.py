"""Segment keys of records that were made under another definition of the segments.

A record keeps its keys in the order of the pipeline file of its day, without their names. Where
that has changed since the window began, the instances say what the keys are by now. Without Spark.
"""

from datetime import date

from deltalake.exceptions import TableNotFoundError

from schemas.manifests import read_segments
from schemas.pipeline import Pipeline
from schemas.places import within


def segments_changed(pipeline: Pipeline, warehouse: str, start: date) -> bool:
    """Whether records of the days from `start` on may have keys of another definition: by the
    refreshes of these days, and the last one before them."""
    try:
        known = read_segments(within(warehouse, "refreshes"), pipeline.name)
    except TableNotFoundError:
        return False
    since = [segments for ds, segments in known if ds >= start]
    before = [segments for ds, segments in known if ds < start][-1:]
    return {*since, *before} - {tuple(pipeline.instances.segments)} != set()
