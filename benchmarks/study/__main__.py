"""`make study`: the study at a small size, from closed loops to its table, in some two minutes.

The 1,797 digits that scikit-learn ships, three seeds, everything else as at full size. Its results
stay in a folder of their own: docs/study/ has those of the full size, which `docs/study.md` tells
how to run.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.study import report, run
from benchmarks.study.parts import AMOUNT
from benchmarks.study.tables import losses

DATA, SEEDS = "digits", 3


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is missing, and print the table."""
    line = argparse.ArgumentParser(prog="python -m benchmarks.study", description=__doc__)
    line.formatter_class = argparse.RawDescriptionHelpFormatter
    line.add_argument("--folder", type=Path, help="of the results; a new one, if left out")
    line.add_argument("--seeds", type=int, default=SEEDS)
    line.add_argument("--arms", nargs="*", default=list(run.FIRST))
    args = line.parse_args(argv)
    folder = args.folder or Path(tempfile.mkdtemp(prefix="tenforward-study-"))
    chosen = ["--part", "development", "--data", DATA, "--amounts", str(AMOUNT)]
    where = ["--folder", str(folder), "--seeds", str(args.seeds), "--arms", *args.arms]
    run.main([*chosen, *where])
    for compared in report.comparisons_of(folder):
        print(losses(compared))
    print(f"\nresults: {folder}")


if __name__ == "__main__":
    main()
