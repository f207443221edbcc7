"""The steps of a loop, each a process, and who can be killed in it."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from schemas.manifests import read_manifests

Command = Callable[[Path], list[str]]  # the folder of a run -> what is started


@dataclass(frozen=True)
class Step:
    """One command of the loop."""

    name: str
    command: Command
    victims: tuple[str, ...]  # of `victims.VICTIMS`
    begins: str = ""  # on standard output, from when on kills are drawn; "" is from the start on


@dataclass(frozen=True)
class Loop:
    """What is run: steps in their order, in a folder that `prepare` has filled."""

    prepare: Callable[[Path], None]
    steps: Sequence[Step]


SPARK = ("driver", "JVM", "Python worker")


def flights(first: str, day: str, recorded: str, scheduled: str) -> tuple[Step, ...]:
    """The loop on flights, from an empty folder to a day under Airflow's scheduler.

    The first model learns from the days before `day`.
    """
    return (
        tenforward("ingest", SPARK, "--start", first, "--end", scheduled),
        tenforward("bootstrap", SPARK, "--start", first, "--end", day_before(day)),
        first_training(),
        tenforward("score", SPARK, "--ds", day),
        tenforward("select", SPARK, "--ds", day),
        ranks(),
        recording(recorded),
        tenforward("select", SPARK, "--ds", recorded, named="select of what was recorded"),
        tenforward("train", ("trainer",), "--refresh", "latest"),
        Step(
            "scheduled day",
            lambda folder: module("scheduled", folder, scheduled),
            ("scheduler", "scheduler and tasks"),
            begins="triggered",
        ),
    )


def small(day: str) -> tuple[Step, ...]:
    """What needs neither Spark nor Airflow."""
    return (
        recording(day),
        tenforward("train", ("trainer",), "--refresh", "first"),
        ranks("--refresh", "second"),
    )


def first_training() -> Step:
    """A training on the bootstrap's refresh, which is not the policy's own: by its id."""

    def command(folder: Path) -> list[str]:
        [manifest] = read_manifests(str(folder / "warehouse" / "refreshes"), policy="bootstrap")
        return tenforward("train", (), "--refresh", manifest.refresh_id).command(folder)

    return Step("first training", command, ("trainer",))


def ranks(*options: str) -> Step:
    """A training on two processes."""
    options = options or ("--refresh", "latest")
    victims = ("rank", "launcher")
    return tenforward("train", victims, *options, "--processes", "2", named="training on two ranks")


def recording(day: str) -> Step:
    """A model server that records a day."""
    return Step(
        "record", lambda folder: module("recording", folder, day), ("recorder",), begins="recording"
    )


def tenforward(name: str, victims: tuple[str, ...], *options: str, named: str = "") -> Step:
    """A command of ours, as its user starts it."""

    def command(folder: Path) -> list[str]:
        where = ["--pipeline", str(pipeline_in(folder)), "--warehouse", str(folder / "warehouse")]
        return [sys.executable, "-m", "tenforward", name, *where, *options]

    return Step(named or name, command, victims)


def module(name: str, *arguments: object) -> list[str]:
    """A process of this folder."""
    return [sys.executable, "-m", f"tests.torture.{name}", *map(str, arguments)]


def pipeline_in(folder: Path) -> Path:
    """The pipeline file of a run: the only one in its folder."""
    [file] = (folder / "pipelines").glob("*.toml")
    return file


def day_before(day: str) -> str:
    """The day before, as text."""
    return str(date.fromisoformat(day) - timedelta(days=1))
