"""What a job costs: seconds by the clock, and of CPU, which a busy machine distorts less."""

import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

Job = Callable[[], object]
Clock = Callable[[], float]

TICKS = os.sysconf("SC_CLK_TCK")
LOOK_S = 1.0


class Cost(NamedTuple):
    """Seconds of one run."""

    wall: float
    cpu: float


# Spark's daemon of Python workers lets the kernel forget what an ended worker has used.
FORGETFUL = "pyspark.daemon"
_workers: dict[tuple[int, str], int] = {}  # ticks when last seen, by process and when it began


def cpu_seconds() -> float:
    """User and system seconds so far, of the processes below this one and of those that ended.

    From /proc, so Linux only. A process that ended counts with the parent that waited for it;
    Spark's Python workers, for whom nobody waits, with what they had used when last looked at.
    """
    stats = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text()
            except OSError:  # it ended meanwhile
                continue
            stats[int(entry.name)] = text[text.rindex(")") + 2 :].split()
    parents = {pid: int(fields[1]) for pid, fields in stats.items()}
    own, ticks = os.getpid(), 0
    ours = [pid for pid in stats if own in _line(pid, parents)]
    forgetful = {pid for pid in ours if _is_daemon(pid)}
    for pid in ours:
        used = sum(int(some) for some in stats[pid][11:15])
        if parents[pid] in forgetful:
            _workers[pid, stats[pid][19]] = used
        else:
            ticks += used
    return (ticks + sum(_workers.values())) / TICKS


def _is_daemon(pid: int) -> bool:
    try:
        return FORGETFUL in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:  # it ended meanwhile
        return False


def _line(pid: int, parents: dict[int, int]) -> list[int]:
    """The process, its parent, and so on up."""
    line = [pid]
    while line[-1] in parents:
        line.append(parents[line[-1]])
    return line


@contextmanager
def meanwhile(act: Callable[[], object], every_s: float) -> Iterator[None]:
    """A thread does this again and again, at such intervals, until the block ends."""
    ended = threading.Event()

    def again() -> None:
        while not ended.wait(every_s):
            act()

    thread = threading.Thread(target=again, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def looked_at(cpu: Clock) -> AbstractContextManager[None]:
    """Ask the clock every second meanwhile: what ends between two looks is forgotten."""
    return meanwhile(cpu, LOOK_S) if cpu is cpu_seconds else nullcontext()


def measured(job: Job, cpu: Clock = time.process_time, at_least: float = 0.0) -> Cost:
    """What one run costs: the mean of as many as take `at_least` so many seconds together.

    cpu: the CPU seconds so far; of this process, or `cpu_seconds` where it starts others.
    """
    began, used, runs = time.perf_counter(), cpu(), 0
    with looked_at(cpu):
        while runs == 0 or time.perf_counter() - began < at_least:
            job()
            runs += 1
    return Cost((time.perf_counter() - began) / runs, (cpu() - used) / runs)


def middle(costs: Sequence[Cost]) -> Cost:
    """The median of each of both."""
    return Cost(*(statistics.median(part) for part in zip(*costs, strict=True)))


def rounds(
    jobs: Mapping[str, Job], repeats: int, cpu: Clock = time.process_time, at_least: float = 0.0
) -> dict[str, list[Cost]]:
    """The costs of each job, one a round; each round measures every job once, in order."""
    costs: dict[str, list[Cost]] = {name: [] for name in jobs}
    for _ in range(repeats):
        for name, job in jobs.items():
            cost = measured(job, cpu, at_least)
            costs[name].append(cost)
            line = f"{name}: {cost.wall:.4g} s, {cost.cpu:.4g} s of CPU"
            print(line, file=sys.stderr, flush=True)
    return costs


def seconds(job: Job, clock: Clock = time.perf_counter, repeats: int = 5) -> list[float]:
    """Time of each repeat by the clock, after one that is not counted."""
    times = []
    for _ in range(repeats + 1):
        began = clock()
        job()
        times.append(clock() - began)
    return times[1:]
