"""`[selection]`: which rows of the records are worth a backward pass."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from schemas.bounds import LARGEST, MOST_ROWS
from schemas.errors import ConfigurationError
from schemas.sections.budget import FORMS, parse_budget
from schemas.sections.fault import Fault, Wrong
from schemas.sections.section import Identifier, Section


def _budget(value: Any) -> Any:
    try:
        parse_budget(value)
        return value
    except ConfigurationError as error:
        raise Wrong(Fault("", value, "not a budget", f"write {FORMS}")) from error


class StrataSpec(Section):
    """`[selection.strata]`: a guaranteed number of drawn rows for each level of a segment key."""

    segment: Identifier = Field(description="One of instances.segments.")
    min_count: int = Field(default=0, ge=0, le=MOST_ROWS, description="Rows, of each level.")
    min_share: float = Field(default=0.0, ge=0, le=1, description="Of the budget, each level.")


class Selection(Section):
    """`[selection]`: which policy, over which window, with what budget.

    A policy names a score, a design and a weighting; each of them can be changed here.
    """

    policy: str = Field(
        default="calibrated", description="Score, design and weighting by one name."
    )
    budget: Annotated[float | str, BeforeValidator(_budget)] = Field(
        default=0.1, description="What training can afford: a share, rows, passes or GPU hours."
    )
    window_days: int = Field(
        default=28, ge=1, le=3660, description="Event dates that a day's refresh draws from."
    )
    forward_days: int = Field(
        default=0, ge=0, le=365, description="Newest days of the window, to judge by, not to draw."
    )
    seed: int = Field(
        default=1, ge=1, lt=1 << 53, description="Of the draw, with an instance's id."
    )
    score: str | None = Field(default=None, description="Another size measure than the policy's.")
    design: str | None = Field(default=None, description="Another design than the policy's.")
    weighting: str | None = Field(default=None, description="Another than the policy's.")
    floor: float | None = Field(
        default=None, ge=0, le=1, description="Least probability, as a share of the budget's."
    )
    calibrated: bool | None = Field(
        default=None, description="Whether weights are made to reproduce the known totals."
    )
    ridge: float | None = Field(
        default=None,
        ge=0,
        le=1e6,
        description="How softly the totals are kept; 0 keeps them exactly.",
    )
    bounds: Annotated[tuple[float, float], Field(strict=False)] | None = Field(
        default=None, description="Of the multipliers."
    )
    beta: float | None = Field(default=None, gt=0, le=100, description="Of the score loss-rank.")
    strata: StrataSpec | None = None
    unmatured: Literal["wait", "expected-score", "down-weight"] = Field(
        default="wait", description="What becomes of records whose label has not matured."
    )
    unmatured_label: float = Field(
        default=0.0, ge=-LARGEST, le=LARGEST, description="Their label until it does."
    )
    unmatured_weight: float = Field(
        default=0.5, gt=0, le=1, description="Their weight, with down-weight."
    )
    max_reject_share: float = Field(
        default=0.01, ge=0, le=1, description="Of the records: with more rejects a day is refused."
    )
    unknown_models: Literal["reject", "accept"] = Field(
        default="reject",
        description="Records of model versions that the registry, where there is one, lacks.",
    )
    files: int = Field(default=4, ge=1, le=4096, description="Parquet files of a sample.")

    @property
    def provisional_label(self) -> float | None:
        """The label that stands in until one matures; None where such records wait."""
        return None if self.unmatured == "wait" else self.unmatured_label
