"""Where the seconds of a small day go: one command in a process of its own, by its steps.

    python -m benchmarks.small_day select --pipeline pipelines/flights.toml --warehouse W \\
        --ds 2013-03-24 --force

Everything behind the command is its own. What its first thread is in is looked at a hundred times a
second; what comes before its first step are Python's imports and the look at the warehouse.
"""

import re
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Sequence

from schemas import progress

EVERY_S = 0.01
BEFORE = "imports, settings, the warehouse's rules"


def seconds_by_step(arguments: Sequence[str]) -> tuple[int, dict[str, float]]:
    """The exit code of a command, and the seconds in each step that lies in no other's."""
    spent: dict[str, float] = defaultdict(float)
    ended, thread = threading.Event(), threading.get_ident()

    def watch() -> None:
        before = time.perf_counter()
        while not ended.wait(EVERY_S):
            now = time.perf_counter()
            stack = [one.words for one in list(progress._steps.get(thread, []))][1:]
            spent[": ".join(map(_plain, stack)) or BEFORE] += now - before
            before = now

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        from tenforward import main

        return main(arguments), spent
    finally:
        ended.set()
        watcher.join()


def _plain(words: str) -> str:
    """A step's words without the figures of this run."""
    return re.sub(r"[\d,]*\d+(-\d+)*", "N", words)


def main() -> int:
    """Run the command, print the table on stderr; the command's exit code."""
    if sys.argv[1:] in ([], ["-h"], ["--help"]):
        print(__doc__)
        return 2
    code, spent = seconds_by_step(sys.argv[1:])
    for words, seconds in spent.items():  # in the order of their beginning
        print(f"{seconds:>7.1f} s  {words}", file=sys.stderr)
    print(f"{sum(spent.values()):>7.1f} s", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
