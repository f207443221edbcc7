"""Records in sample: those whose model may have learnt from the very instance it answered for.

A record is out of sample if its model, and every model that its weights began with, was trained on
refreshes whose cut is no later than the instance's event time. Of a model whose origin is not known
here the record must have been made by the end of the event's UTC day. The rule looks neither at the
label nor at when it became known: whatever hangs on these would tilt the candidates that are left.
"""

from collections.abc import Mapping
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from spark_jobs.selection.arrays import Array

_DAY = 86_400_000_000  # microseconds
_NOT_KNOWN = np.iinfo(np.int64).min


def in_sample(
    model_version: pa.Array,
    event_time: pa.Array,
    recorded_at: Array,
    learnt_until: Mapping[str, datetime] | None,
) -> Array:
    """Mask (n,) of the records in sample.

    recorded_at (n,): microseconds UTC. learnt_until: of each model version whose origin is known,
    the latest cut of the refreshes behind it; None where no record is taken for one.
    """
    event = event_time.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    asked = pc.fill_null(event, 0).to_numpy(zero_copy_only=False)
    if learnt_until is None or not asked.size:
        return np.zeros(asked.size, bool)
    versions = model_version.dictionary_encode()
    cuts = np.array([_cut(learnt_until.get(one)) for one in versions.dictionary.to_pylist()])
    # A null version is a fault, and its record is none; it takes the place after the last.
    code = pc.fill_null(versions.indices, len(cuts)).to_numpy(zero_copy_only=False)
    cut = np.append(cuts, _NOT_KNOWN).astype(np.int64)[code]
    late = recorded_at > (asked // _DAY + 1) * _DAY
    return np.where(cut == _NOT_KNOWN, late, cut > asked)


def _cut(learnt: datetime | None) -> int:
    return _NOT_KNOWN if learnt is None else round(learnt.timestamp() * 1_000_000)
