"""`[gate]`: when a challenger becomes the champion."""

from typing import Literal

from pydantic import Field, model_validator

from schemas.sections.section import Section


class Gate(Section):
    """`[gate]`: limits on what the challenger does, on the same rows as the champion.

    `bound` says what must keep a limit: the measured value (`estimate`), or an end of its
    confidence interval. `lower` refuses only what is surely beyond the limit, `upper` lets only
    that pass which is surely within.
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
    bound: Literal["estimate", "lower", "upper"] = "estimate"
    confidence: float = Field(default=0.95, ge=0.5, le=0.99, description="Of the intervals.")
    min_rows: int = Field(default=100, ge=1, description="Held-out rows below which none passes.")

    @model_validator(mode="after")
    def _limits_agree(self) -> "Gate":
        segment = self.max_segment_loss_increase
        if segment is not None and segment < self.max_loss_increase:
            raise ValueError(
                f"gate.max_segment_loss_increase: {segment} for each segment leaves"
                f" max_loss_increase = {self.max_loss_increase} for all of them without effect;"
                " give the segments at least as much"
            )
        return self
