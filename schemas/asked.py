"""With which chance instances were asked for their labels, at a version of the table `asked`."""

from datetime import datetime

import pyarrow as pa
from deltalake import DeltaTable as Snapshot
from pyarrow.dataset import field

from schemas.places import within
from schemas.side_tables import asked
from schemas.stored import stored

ASKED = asked().name


def propensities(warehouse: str, version: int | None, cut: datetime) -> pa.Table:
    """instance_id and probability of those asked by `cut`; none where a refresh pins no version,
    because nobody had been asked. Raises deltalake's errors where the version is gone."""
    nobody = asked().arrow_schema.empty_table().select(["instance_id", "probability"])
    if version is None:
        return nobody
    rows = stored(Snapshot(within(warehouse, ASKED), version=version), asked().arrow_schema)
    if rows is None:
        return nobody
    known = field("drawn") & (field("cut") <= pa.scalar(cut))
    return rows.to_table(columns=nobody.column_names, filter=known)
