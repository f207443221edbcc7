"""One process of a step, and at most one kill in it."""

import os
import random
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.torture.steps import Step
from tests.torture.victims import VICTIMS, family

ROOT = Path(__file__).parents[2]
LIMIT_S = 1800.0  # a process that is not over by then hangs
LOOK_S = 0.05
Span = tuple[float, float]  # seconds


@dataclass(frozen=True)
class Kill:
    """SIGKILL for a victim, so long after the step has begun, or as soon as it is there."""

    victim: str
    after_s: float


@dataclass
class Ended:
    """How a process ended."""

    code: int
    seconds: float  # since it began
    killed: float | None = None  # seconds after its beginning
    seen: dict[str, Span] = field(default_factory=dict)  # when each victim was there
    below: set[psutil.Process] = field(default_factory=set)  # every process that was seen


def run(step: Step, folder: Path, log: Path, kill: Kill | None, dice: random.Random) -> Ended:
    """Start the step's command and see it end. RuntimeError where it hangs."""
    with log.open("ab") as output:
        start = output.tell()
        process = subprocess.Popen(
            step.command(folder),
            cwd=folder,
            env=environment(os.environ),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    ended, limit = Ended(0, 0.0), time.monotonic() + LIMIT_S
    began = None if step.begins else time.monotonic()
    while process.poll() is None:
        if began is None and step.begins.encode() in log.read_bytes()[start:]:
            began = time.monotonic()
        if began is not None:
            _look(step, process.pid, time.monotonic() - began, kill, ended, dice)
        if time.monotonic() > limit:
            for one in family(process.pid):
                one.kill()
            raise RuntimeError(f"{step.name}: not over after {LIMIT_S:.0f} s: {log}")
        time.sleep(LOOK_S)
    ended.code = process.returncode
    ended.seconds = 0.0 if began is None else time.monotonic() - began
    return ended


def _look(
    step: Step, pid: int, now: float, kill: Kill | None, ended: Ended, dice: random.Random
) -> None:
    """Note who is there, and kill whose time has come."""
    found = family(pid)
    ended.below.update(found)
    if kill is None:
        for name in step.victims:
            if found and VICTIMS[name](found):
                ended.seen[name] = (ended.seen.get(name, (now, now))[0], now)
        return
    due = found and ended.killed is None and now >= kill.after_s
    if groups := VICTIMS[kill.victim](found) if due else []:
        for one in dice.choice(groups):
            with suppress(psutil.NoSuchProcess):
                one.kill()
        ended.killed = now


def environment(own: Mapping[str, str]) -> dict[str, str]:
    """This process's, with the repository first on the path and nothing of another Spark."""
    foreign = ("TENFORWARD", "MLFLOW", "AIRFLOW", "SPARK_HOME", "SPARK_CONF_DIR")
    kept = {name: value for name, value in own.items() if not name.startswith(foreign)}
    return kept | {"PYTHONPATH": str(ROOT), "SPARK_LOCAL_IP": "127.0.0.1"}


def left_running(below: set[psutil.Process], patience_s: float = 60.0) -> list[str]:
    """Processes of a step that do not end by themselves; they are ended."""
    _, alive = psutil.wait_procs(below, timeout=patience_s)
    told = []
    for one in alive:
        with suppress(psutil.NoSuchProcess):
            told.append(" ".join(one.cmdline())[:120])
            one.kill()
    return told
