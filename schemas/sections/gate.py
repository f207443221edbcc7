"""`[gate]`: when a challenger becomes the champion."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from schemas.bounds import MOST_ROWS
from schemas.sections.fault import Fault, Wrong
from schemas.sections.section import Section


class Gate(Section):
    """`[gate]`: limits on what the challenger does, on the same rows as the champion.

    `bound` says what must keep a limit: the measured value (`estimate`), or an end of its
    confidence interval. `lower` refuses only what is surely beyond the limit, `upper` lets only
    that pass which is surely within.

    Limits on an increase hold twice: over the champion, and over the anchor, the champion of
    `anchor_days` before. Else every promotion may lose the whole tolerance once more. Days are
    those of the refreshes, so a backfill is anchored as the days themselves were. Four weeks by
    default, as `selection.window_days`: whole weeks, and none of the anchor's days is in the window
    any more.
    """

    max_loss_increase: float = Field(
        default=0.0, ge=0, le=10, description="How much worse the challenger's loss may be."
    )
    max_segment_loss_increase: float | None = Field(
        default=None, ge=0, le=10, description="The same, of any segment with `min_rows` rows."
    )
    max_calibration_gap: float | None = Field(
        default=None, gt=0, le=1, description="How far predicted to observed may be from 1."
    )
    anchor_days: int | None = Field(
        default=28, ge=1, le=3660, description="How old the anchor is; 0 in a file: no anchor."
    )
    bound: Literal["estimate", "lower", "upper"] = Field(
        default="estimate", description="Which must keep a limit: the value, or an interval's end."
    )
    confidence: float = Field(default=0.95, ge=0.5, le=0.99, description="Of the intervals.")
    min_rows: int = Field(
        default=100, ge=1, le=MOST_ROWS, description="Held-out rows below which none passes."
    )

    @field_validator("anchor_days", mode="before")
    @classmethod
    def _none_in_toml(cls, value: Any) -> Any:
        # TOML has no word for None; false is no number, though Python counts it as 0.
        return None if type(value) is int and value == 0 else value

    @model_validator(mode="after")
    def _limits_agree(self) -> "Gate":
        segment = self.max_segment_loss_increase
        if segment is not None and segment < self.max_loss_increase:
            raise Wrong(
                Fault(
                    "max_segment_loss_increase",
                    segment,
                    f"{segment} for each segment leaves max_loss_increase ="
                    f" {self.max_loss_increase} for all of them without effect",
                    "give the segments at least as much",
                )
            )
        return self
