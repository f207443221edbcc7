"""What the arms were tuned to: reads tuning.csv and writes its table."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.study.lines import Fields, fields
from benchmarks.study.parts import AMOUNT, PARTS
from benchmarks.study.results import OF_EVERY_AMOUNT
from benchmarks.study.tables import ABSENT, table
from schemas.errors import DataQualityError

COLUMNS = (
    *("data", "arm", "amount", "batch_size", "learning_rate", "window_days"),
    *("seed", "loss", "seconds", "chosen"),
)
CHOSEN = {"yes": True, "": False}


class Setting(NamedTuple):
    """What is tuned."""

    batch_size: int
    learning_rate: float
    window_days: int

    def __str__(self) -> str:
        return f"{self.batch_size}, {self.learning_rate:g}, {self.window_days}"


class Trial(NamedTuple):
    """A line of the file: a closed loop on the days of tuning."""

    data: str
    arm: str
    amount: float
    setting: Setting
    seed: int
    loss: float
    seconds: float
    chosen: bool


def read_tuning(path: Path) -> list[Trial]:
    """The trials of a file.

    Raises NoDataError where there is no such file, DataQualityError where a line cannot be read or
    stands twice, and where an arm of a data set at an amount has not one setting that is chosen.
    """
    trials: list[Trial] = []
    seen: dict[tuple[str, str, float, Setting, int], int] = {}
    for line in fields(path, COLUMNS):
        trial = _trial(line)
        first = seen.setdefault(trial[:5], line.number)
        if first != line.number:
            raise DataQualityError(f"{line} is line {first} again. Remedy: delete one of them.")
        trials.append(trial)
    chosen: dict[tuple[str, str, float], set[Setting]] = {trial[:3]: set() for trial in trials}
    for trial in trials:
        if trial.chosen:
            chosen[trial[:3]].add(trial.setting)
    for (data, arm, amount), settings in chosen.items():
        if len(settings) != 1:
            raise DataQualityError(
                f"{path}: {arm} on {data} at {amount:g} has {len(settings)} chosen settings."
                " Remedy: mark the lines of one."
            )
    return trials


def _trial(line: Fields) -> Trial:
    if line.values["chosen"] not in CHOSEN:
        raise DataQualityError(
            f"{line}: chosen = {line.values['chosen']!r}. Remedy: write yes or nothing."
        )
    setting = Setting(
        line.read("batch_size", int),
        line.read("learning_rate", float),
        line.read("window_days", int),
    )
    return Trial(
        line.values["data"],
        line.values["arm"],
        line.read("amount", float),
        setting,
        line.read("seed", int),
        line.read("loss", float),
        line.read("seconds", float),
        CHOSEN[line.values["chosen"]],
    )


def tuned(trials: Sequence[Trial], part: str, amount: float = AMOUNT) -> str:
    """An arm a row, a data set a column: the chosen setting; last what the trials cost."""
    own = [t for t in trials if t.data in PARTS[part] and t.amount in (amount, *OF_EVERY_AMOUNT)]
    data = [name for name in PARTS[part] if any(trial.data == name for trial in own)]
    chosen = {(trial.arm, trial.data): str(trial.setting) for trial in own if trial.chosen}
    rows = [
        [arm, *(chosen.get((arm, name), ABSENT) for name in data)]
        for arm in dict.fromkeys(trial.arm for trial in own)
    ]
    rows.append(
        ["trials", *(_cost([trial for trial in own if trial.data == name]) for name in data)]
    )
    caption = (
        f"Batch size, learning rate and days of the source window that each arm was tuned to, at"
        f" {amount:g} backward passes for each forward pass, on days before those reported."
    )
    return "\n\n".join([table(["arm", *data], rows), caption])


def _cost(trials: Sequence[Trial]) -> str:
    settings = len({trial.setting for trial in trials})
    hours = sum(trial.seconds for trial in trials) / 3600
    return f"{len(trials):,} loops, {settings} settings, {hours:.1f} h"
