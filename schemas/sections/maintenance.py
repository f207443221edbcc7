"""`[maintenance]`: when small files are compacted, how long rows and unused files are kept."""

from typing import Annotated

from pydantic import AfterValidator, Field

from schemas.bounds import MOST_ROWS
from schemas.sections.fault import Fault, Wrong
from schemas.sections.section import Duration, Section, parse_duration

# Below this a running selection or training could lose a file under its hands: it reads the
# versions that were the newest when it began, and no job of ours may run for longer.
LEAST_UNUSED_DAYS = 7
# After this Delta forgets the commits (`delta.logRetentionDuration`), and with them old versions.
MOST_REPRODUCE_DAYS = 400


def _long_enough(text: str) -> str:
    if parse_duration(text).days < LEAST_UNUSED_DAYS:
        problem = "running jobs may still read such files"
        raise Wrong(Fault("", text, problem, f"write at least {LEAST_UNUSED_DAYS}d"))
    return text


def _not_too_long(text: str) -> str:
    if parse_duration(text).days > MOST_REPRODUCE_DAYS:
        problem = f"the tables' logs reach back {MOST_REPRODUCE_DAYS}d"
        raise Wrong(Fault("", text, problem, f"write at most {MOST_REPRODUCE_DAYS}d"))
    return text


class Keep(Section):
    """`[maintenance.keep]`: how long rows stay, by table; for ever where nothing is said.

    Counted from the event date; for `refreshes` from the day of the refresh, whose rows leave
    `selection_probabilities`, `sampled` and `holdout` while its manifest stays.
    """

    forward_records: Duration | None = Field(default=None, description="Rows of the table.")
    forward_rejects: Duration | None = Field(default=None, description="Rows of the table.")
    instances: Duration | None = Field(default=None, description="Rows of the table.")
    labels: Duration | None = Field(default=None, description="Rows of the table.")
    refreshes: Duration | None = Field(
        default=None, description="Their probabilities, samples and hold-outs."
    )


class Maintenance(Section):
    """`[maintenance]`: what `tenforward maintain` does."""

    target_mb: int = Field(default=128, ge=1, le=4096, description="Size of a compacted file.")
    min_files: int = Field(
        default=4,
        ge=2,
        le=MOST_ROWS,
        description="Small files of one partition below which they are left.",
    )
    unused_files: Annotated[Duration, AfterValidator(_long_enough)] = Field(
        default="30d", description="The age at which files that no version needs are deleted."
    )
    reproduce: Annotated[Duration, AfterValidator(_not_too_long)] = Field(
        default="90d", description="How long a refresh can be rebuilt from what it pinned."
    )
    pinned: list[str] = Field(default=[], description="Refreshes that stay reproducible for ever.")
    keep: Keep = Keep()
