"""CPU seconds of this process and of all that it started: what a busy machine does not distort."""

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds() -> float:
    """User and system seconds so far, of the processes below this one and of those that ended.

    From /proc, so Linux only. A process that ended counts with the parent that waited for it.
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
    own = os.getpid()
    ours = [pid for pid in stats if own in _line(pid, parents)]
    return sum(int(ticks) for pid in ours for ticks in stats[pid][11:15]) / TICKS


def _line(pid: int, parents: dict[int, int]) -> list[int]:
    """The process, its parent, and so on up."""
    line = [pid]
    while line[-1] in parents:
        line.append(parents[line[-1]])
    return line
