"""Rolling lateness: at a moment, the share late among the labels known by then.

The window is over the time of knowledge, not of the event: a flight counts once it has arrived,
so nothing of a later arrival can reach an earlier snapshot.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

# A snapshot needs this long to compute before the store can serve it.
COMPUTE_TIME = pd.Timedelta(minutes=5)


def snapshots(
    outcomes: pd.DataFrame,
    entity: str,
    moments: pd.DatetimeIndex,
    windows: Mapping[str, pd.Timedelta],
) -> pd.DataFrame:
    """One row an entity and moment: `entity`, `as_of`, `computed_at` and a share a window.

    `outcomes` has the entity, `known_at` (UTC) and `late` (0 or 1), in any order. A share is over
    the outcomes with `known_at` in (as_of - window, as_of], NaN where there are none.
    """
    at = _nanoseconds(moments)
    pieces = []
    for key, group in outcomes.sort_values("known_at").groupby(entity, sort=True):
        known = _nanoseconds(pd.DatetimeIndex(group["known_at"]))
        late_until = np.concatenate([[0.0], np.cumsum(group["late"].to_numpy(dtype=float))])
        shares = {
            name: _trailing_share(known, late_until, at, window.value)
            for name, window in windows.items()
        }
        pieces.append(pd.DataFrame({entity: key, "as_of": moments} | shares))
    rows = pd.concat(pieces, ignore_index=True)
    rows.insert(2, "computed_at", rows["as_of"] + COMPUTE_TIME)
    return rows


def _trailing_share(
    known: npt.NDArray[np.int64],
    late_until: npt.NDArray[np.float64],
    at: npt.NDArray[np.int64],
    window: int,
) -> npt.NDArray[np.float64]:
    """Late arrivals over arrivals in (at - window, at], NaN for 0/0; `known` is sorted."""
    last = np.searchsorted(known, at, side="right")
    first = np.searchsorted(known, at - window, side="right")
    arrivals = (last - first).astype(np.float64)
    late = late_until[last] - late_until[first]
    return np.divide(late, arrivals, out=np.full(len(at), np.nan), where=arrivals > 0)


def _nanoseconds(times: pd.DatetimeIndex) -> npt.NDArray[np.int64]:
    """Nanoseconds since 1970, UTC, whatever unit pandas chose."""
    return times.tz_convert(None).to_numpy().astype("datetime64[ns]").view(np.int64)
