"""The command line of the torture; a JSON line a step, and a summary."""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.torture.loops import LOOPS
from tests.torture.rounds import Torture


def main(argv: Sequence[str] | None = None) -> int:
    """Torture a loop; the exit code is 1 where a kill left another thing than no kill."""
    line = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    line.add_argument("--kills", type=int, default=20, help="%(default)s")
    line.add_argument("--seed", type=int, help="that of a run to be repeated (default: a new one)")
    line.add_argument("--loop", choices=sorted(LOOPS), default="flights", help="%(default)s")
    line.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    args = line.parse_args(argv)
    seed = int.from_bytes(os.urandom(3)) if args.seed is None else args.seed
    if args.folder is None:
        with tempfile.TemporaryDirectory(prefix="torture-", ignore_cleanup_errors=True) as folder:
            return torture(args.loop, args.kills, seed, Path(folder))
    return torture(args.loop, args.kills, seed, args.folder.resolve())


def torture(loop: str, kills: int, seed: int, folder: Path) -> int:
    """So many kills in a loop, in a folder of their own; the exit code."""
    began, counts = time.monotonic(), Counter()
    tell({"seed": seed, "kills": kills, "loop": loop})

    def told(entry: dict[str, Any]) -> None:
        tell(entry)
        for kill in entry.get("kills", ()):
            counts[kill["victim"]] += 1

    victims = Torture(LOOPS[loop], folder, random.Random(seed), told)
    victims.undisturbed()
    victims.until(kills)
    summary = {
        "seed": seed,
        "kills": victims.kills,
        "as_undisturbed": victims.kills - victims.failures,
        "by_victim": dict(sorted(counts.items())),
        "s": round(time.monotonic() - began),
    }
    tell(summary)
    return int(victims.failures > 0)


def tell(entry: dict[str, Any]) -> None:
    """One line on standard output."""
    print(json.dumps(entry), flush=True)


if __name__ == "__main__":
    sys.exit(main())
