"""Whom a kill meets: processes below the one that was started, by what they are."""

from collections.abc import Callable
from contextlib import suppress

import psutil

Process = psutil.Process


def family(pid: int) -> list[Process]:
    """A process and all below it; nothing where it is gone."""
    try:
        process = Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _line(process: Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


def _started(found: list[Process]) -> list[list[Process]]:
    return [[process] for process in found[:1]]


def _java(found: list[Process]) -> list[list[Process]]:
    return [[one] for one in found[1:] if "org.apache.spark.deploy.SparkSubmit" in _line(one)]


def _workers(found: list[Process]) -> list[list[Process]]:
    """Forks of Spark's daemon; the daemon itself is not one."""
    daemons = {one.pid for one in found if "pyspark.daemon" in _line(one)}
    workers = []
    for one in found:
        with suppress(psutil.NoSuchProcess):
            if one.pid in daemons and one.ppid() in daemons:
                workers.append([one])
    return workers


def _ranks(found: list[Process]) -> list[list[Process]]:
    return [[one] for one in found[1:] if "-m trainer.train" in _line(one)]


def _scheduler(found: list[Process]) -> list[list[Process]]:
    """The process that the supervisor started, not its own workers."""
    return [
        [one]
        for one in found[1:]
        if "airflow scheduler" in _line(one) and one.ppid() == found[0].pid
    ]


def _scheduler_and_tasks(found: list[Process]) -> list[list[Process]]:
    return [family(one.pid) for [one] in _scheduler(found)]


# Each group of processes that is killed together, of those that are there.
VICTIMS: dict[str, Callable[[list[Process]], list[list[Process]]]] = {
    "driver": _started,
    "JVM": _java,
    "Python worker": _workers,
    "trainer": _started,
    "launcher": _started,
    "rank": _ranks,
    "recorder": _started,
    "scheduler": _scheduler,
    "scheduler and tasks": _scheduler_and_tasks,
}
