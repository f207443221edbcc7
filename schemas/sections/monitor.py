"""`[monitor]`: beyond which limits a day of served predictions ends `tenforward monitor` with 4."""

from pydantic import Field

from schemas.bounds import LARGEST, MOST_ROWS
from schemas.sections.section import Section


class Monitor(Section):
    """`[monitor]`: limits on each day and model version, of all its records.

    A limit on what has an interval is passed where the whole interval is beyond it, so that chance
    alone rarely sets it off. Where the section is there, the DAG monitors each day.
    """

    max_loss: float | None = Field(
        default=None,
        gt=0,
        le=LARGEST,
        description="Mean loss: nats, or half the squared error of a regression.",
    )
    max_loss_gap: float | None = Field(
        default=None,
        gt=0,
        le=10,
        description="Mean loss above what the predictions themselves expect, nats.",
    )
    max_calibration_gap: float | None = Field(
        default=None, gt=0, le=1, description="How far predicted to observed may be from 1."
    )
    min_coverage: float | None = Field(
        default=None, gt=0, le=1, description="Of the day's instances, those with a record."
    )
    max_drift: float | None = Field(
        default=None,
        gt=0,
        le=100,
        description="Population stability index of predictions, and of each segment key.",
    )
    min_rows: int = Field(
        default=100,
        ge=1,
        le=MOST_ROWS,
        description="Matured records below which losses and calibration are not judged.",
    )
