"""What `estimate --for-gate` measured of a version on all traffic, and `register --version` reads.

Kept with the version's run in the registry, so that whoever decides needs no Spark and no table.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from schemas.errors import ConfigurationError

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from schemas.pipeline import Pipeline

FOLDER = "all_traffic"  # of the run: a file a refresh

Ends = tuple[float, float, float]  # a value, and the ends of its interval; NaN: not defined


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


class SegmentOfTraffic(_Strict):
    """One level of a segment key."""

    segment: str
    level: str
    drawn: int
    loss: Ends
    increase: Ends | None  # over the champion's
    anchor_increase: Ends | None
    calibration_ratio: Ends | None


class AllTraffic(_Strict):
    """A challenger beside champion and anchor, over all instances of a refresh's window."""

    refresh_id: str
    challenger: str  # versions
    champion: str | None
    anchor: str | None
    confidence: float
    loss: str  # of a regression, by its name; else log
    rows: int
    drawn: int  # rows that were asked about, held-out ones too
    measured: dict[str, dict[str, Ends]]  # challenger, champion, increase, ...: loss, ...
    segments: list[SegmentOfTraffic]


def require_equal_rows(pipeline: "Pipeline", option: str) -> None:
    """Refuse, by ConfigurationError, rows with weights of their own: here each instance counts 1,
    and the gate's losses are those of the weighted rows. option: of the command line."""
    if pipeline.labels.weight is not None:
        raise ConfigurationError(
            f"{option}: labels.weight = {pipeline.labels.weight!r}, and over all traffic each"
            " instance counts 1. Remedy: leave it to the held-out rows, which the gate weighs."
        )


def loss_of(pipeline: "Pipeline") -> str:
    """The name of the loss that the gate compares."""
    return pipeline.training.loss if pipeline.task == "regression" else "log"


def keep(client: "MlflowClient", run_id: str, found: AllTraffic) -> None:
    """Write it to the run, over an earlier one of the refresh."""
    client.log_text(run_id, found.model_dump_json(indent=1), _file(found.refresh_id))


def kept(client: "MlflowClient", run_id: str, version: str, refresh_id: str) -> AllTraffic:
    """Read it again. Raises ConfigurationError where nothing was kept, or something else."""
    file = _file(refresh_id)
    if file not in {one.path for one in client.list_artifacts(run_id, FOLDER)}:
        raise ConfigurationError(
            f"--version = {version}, --refresh = {refresh_id}: not measured on that refresh."
            f" Remedy: `tenforward estimate --refresh {refresh_id} --challenger {version}"
            " --for-gate` first."
        )
    with TemporaryDirectory(prefix="tenforward-") as folder:  # MLflow would leave one of its own
        text = Path(client.download_artifacts(run_id, file, folder)).read_text()
    try:
        return AllTraffic.model_validate_json(text)
    except ValidationError as error:
        raise ConfigurationError(
            f"{file} of run {run_id}: not what this release writes ({error.error_count()} faults)."
            " Remedy: repeat the estimate."
        ) from error


def _file(refresh_id: str) -> str:
    return f"{FOLDER}/{refresh_id}.json"
