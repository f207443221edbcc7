"""Whether an instance was a candidate of a refresh, by its own rows at the pinned versions.

All that makes a candidate is said of one instance at a time, so that its own rows are enough, and
those of its event date alone are read.
"""

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.manifests import BOOTSTRAP
from schemas.reasons import NO_INSTANCE, REASONS
from schemas.sections.store import Labels
from spark_jobs.candidates.arrow_narrow import held_out, seen_from
from spark_jobs.candidates.assemble import assemble
from spark_jobs.candidates.in_sample import in_sample
from spark_jobs.candidates.maturity import Counting, counting
from spark_jobs.explained.pinned import Pinned
from spark_jobs.selection.columns import column

CANDIDATE = "candidate"
MATURITY = {
    "arrival": "a label counts as soon as it is known",
    "delay": "a label counts when its event is {after} old",
    "window": "a label counts when its event is {after} old; none is 0 then",
}


@dataclass(frozen=True)
class Candidacy:
    """What an instance was to a refresh, and why.

    outcome: candidate, held out, set aside, forward day, no record, rejected, unmatured or outside.
    served: of its record and label, where it was a candidate.
    """

    outcome: str
    why: str
    served: dict[str, Any] = field(default_factory=dict)


def candidacy(pinned: Pinned, instance_id: str, day: date) -> Candidacy:
    """Of the instance of this event date. Raises GoneError where the tables are gone."""
    if apart := set_apart(pinned, instance_id, day):
        return apart
    ids = pa.array([instance_id])
    asked, records, labels = (
        rows.filter(pc.is_in(rows["instance_id"], value_set=ids))
        for rows in (pinned.instances([day]), pinned.records([day]), pinned.labels([day]))
    )
    if not asked.num_rows and records.num_rows:
        return Candidacy("rejected", f"{NO_INSTANCE}: {REASONS[NO_INSTANCE]}")
    if not asked.num_rows:
        return Candidacy("outside", "the table instances did not have it yet")
    if pinned.manifest.policy == BOOTSTRAP:
        return _first_refresh(pinned, asked, labels)
    if not records.num_rows:
        return Candidacy("no record", "no model had left a forward record of it")
    return _by_own_rows(pinned, pinned.narrow(records, labels, asked))


def set_apart(pinned: Pinned, instance_id: str, day: date) -> Candidacy | None:
    """What its id and its day alone say of it, whatever its rows are."""
    share = pinned.pipeline.holdout
    if held_out(pa.array([instance_id]), share)[0]:
        return Candidacy("held out", f"the hash of its id is among the {share:g} never trained on")
    if instance_id in pinned.aside:
        return Candidacy("set aside", "it had been set aside: tenforward set-aside")
    if day > pinned.last_drawn:
        return Candidacy("forward day", f"days after {pinned.last_drawn} are there to judge by")
    return None


def _by_own_rows(pinned: Pinned, rows: pa.Table) -> Candidacy:
    """rows: narrow ones of the instance, of which at least one is a record."""
    manifest, selection = pinned.manifest, pinned.pipeline.selection
    rule, learnt = pinned.pipeline.labels, pinned.decided.learnt_until
    seen = seen_from(rows, rule, manifest.inputs.cut)
    found, counts = assemble(seen, manifest.seed, selection.provisional_label, learnt)
    if found.size:
        version = found.vocabulary.versions[int(found.version[0])]
        late = counts.in_sample > 0
        return Candidacy(
            CANDIDATE,
            _why_served(learnt, version, late),
            {
                "model_version": version,
                "prediction": found.prediction[0].tolist(),
                "recorded_at": _recorded(seen, version, late, learnt),
                "in_sample": late,
                "learnt_until": None if learnt is None else learnt.get(version),
                "label": float(found.label[0]),
                **_label(seen, bool(found.matured[0])),
                "matured_by": _rule(rule),
            },
        )
    if counts.unmatured:
        return Candidacy("unmatured", f"no label counted at the cut: {_rule(rule)}")
    told = "; ".join(f"{reason}: {REASONS[reason]}" for reason in counts.rejects)
    return Candidacy("rejected", told)


def _first_refresh(pinned: Pinned, asked: pa.Table, labels: pa.Table) -> Candidacy:
    """Of the bootstrap, which draws every instance with a label that counts, and looks at no
    record."""
    cut, rule = pinned.manifest.inputs.cut, pinned.pipeline.labels
    known = labels.filter(pc.less_equal(labels["known_at"], pa.scalar(cut))).num_rows > 0
    counts = counting(column(asked, "event_time"), rule, cut).max()
    if counts >= (Counting.ANY if known else Counting.ABSENT_IS_NEGATIVE):
        return Candidacy(CANDIDATE, "the first refresh draws every instance with a label")
    return Candidacy("unmatured", f"no label counted at the cut: {_rule(rule)}")


def _rule(rule: Labels) -> str:
    return MATURITY[rule.maturity].format(after=rule.after)


def _why_served(learnt: Any, version: str, late: bool) -> str:
    if learnt is None:
        return "its newest record, whatever the model had learnt from"
    if late:
        return f"every record of it is in sample: the newest serves, of version {version}"
    return f"its newest record out of sample, of version {version}"


def _recorded(rows: pa.Table, version: str, late: bool, learnt: Any) -> datetime | None:
    """When the record that serves was made: of the sound ones of its version the newest that is in
    sample, or is not, as it is."""
    mine = rows.filter(
        pc.and_(
            pc.fill_null(pc.equal(rows["model_version"], version), False),
            pc.is_null(rows["fault"]),
        )
    )
    moment = np.asarray(column(mine, "moment"))
    same = in_sample(column(mine, "model_version"), column(mine, "event_time"), moment, learnt)
    return _at(int(moment[same == late].max()))


def _label(rows: pa.Table, matured: bool) -> dict[str, Any]:
    """The newest label known by the cut that can be used, and when it became known."""
    sound = rows.filter(pc.and_(rows["is_label"], pc.is_null(rows["fault"])))
    if not sound.num_rows:  # an attribution window ended without one, or a stand-in serves
        return {"label_known_at": None, "matured": matured}
    newest = pc.max(sound["moment"]).as_py()
    return {"label_known_at": _at(newest), "matured": matured}


def _at(micros: int) -> datetime:
    return pa.scalar(micros, pa.timestamp("us", tz="UTC")).as_py()
