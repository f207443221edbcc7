"""`[check]`: what a pipeline's data are held to, by `tenforward check` and on every report card."""

from pydantic import Field, model_validator

from schemas.sections.fault import Fault, Wrong
from schemas.sections.section import Duration, Identifier, Section

# Tables that every pipeline has and that may be held to a freshness, with their moment.
DATED = {"instances": "event_time", "forward_records": "recorded_at", "labels": "known_at"}


class DataCheck(Section):
    """`[check]`: below these a refresh is not "Sound", and `tenforward check` exits with 4.

    Without `label_coverage` a day's labels are taken for missing where fewer than half as many of
    its records have one as of a later day's.
    """

    coverage: float = Field(
        default=0.9, ge=0, le=1, description="Of each day's instances, those with a record."
    )
    label_coverage: float | None = Field(
        default=None, ge=0, le=1, description="Of each day's records, those with a matured label."
    )
    label_delay: Duration | None = Field(
        default=None, description="The age of a day from which on label_coverage is asked of it."
    )
    freshness: dict[Identifier, Duration] = Field(
        default={},
        description="By feature view (its ttl where nothing is said), instances, labels or"
        " forward_records: how old the newest row may be.",
    )

    @model_validator(mode="after")
    def _delay_has_a_use(self) -> "DataCheck":
        if self.label_delay is not None and self.label_coverage is None:
            problem = "nothing reads it without label_coverage, which it delays"
            remedy = "write label_coverage too, or remove it"
            raise Wrong(Fault("label_delay", self.label_delay, problem, remedy))
        return self
