"""How often the intervals of `estimate` hold the truth, and how wide they are: docs/estimate.md.

Populations that are known whole are drawn from again and again by every design that keeps its
probabilities (`reference/coverage.py`):

    python -m benchmarks.coverage --draws 10000
"""

import argparse

from reference.coverage import POPULATIONS, coverage
from spark_jobs.selection.designs import DESIGNS

ROWS, DRAWN = 4000, 400
EXACT = [name for name, design in DESIGNS.items() if design.exact]


def main(argv: list[str] | None = None) -> None:
    """A line a population and design."""
    line = argparse.ArgumentParser(description=__doc__)
    line.add_argument("--draws", type=int, default=10_000)
    args = line.parse_args(argv)
    print(f"{DRAWN} of {ROWS} rows, {args.draws} draws; intervals of 95 %")
    print(
        "| population | design | hold the truth | end below, begin above | width / ideal | / SRS |"
    )
    print("|---|---|---|---|---|---|")
    for name, population in POPULATIONS.items():
        for design in EXACT:
            seen = coverage(population(ROWS), DRAWN, design, args.draws)
            print(
                f"| {name} | {design} | {seen.held:.1%} | {seen.below:.1%}, {seen.above:.1%}"
                f" | {seen.width / (2 * 1.96 * seen.deviation):.2f}"
                f" | {seen.width / seen.simple:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
