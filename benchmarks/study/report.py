"""Writes the tables and plots of the study's page from its results.

    python -m benchmarks.study.report [--folder docs/study] [--page docs/study.md] [--check]

Reads results.csv and tuning.csv of the folder, writes the SVGs there and, in the page, what stands
between `<!-- table: NAME -->` and `<!-- end -->`; the rest of the page is left alone. With --check
nothing is written: the exit code is 1 where a table or a plot is not what the results say.
"""

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.study.comparison import Comparison, compare
from benchmarks.study.goal import goal, goal_words
from benchmarks.study.parts import AMOUNT, PARTS, part_of
from benchmarks.study.plots import plots
from benchmarks.study.readouts import read_outs_of
from benchmarks.study.results import read_results
from benchmarks.study.same_settings import same_settings
from benchmarks.study.tables import losses, read_outs
from benchmarks.study.tuned import read_tuning, tuned
from schemas.command import run_command
from schemas.errors import ConfigurationError
from schemas.log import log

FOLDER, PAGE = Path("docs/study"), Path("docs/study.md")
BLOCK = re.compile(r"<!-- table: (.+?) -->\n(.*?)<!-- end -->", re.DOTALL)
OPENING = "<!-- table:"

Tables = Mapping[str, Callable[[], str]]  # by name; written only where the page asks for them


def comparisons_of(folder: Path) -> list[Comparison]:
    """Every table of results.csv, by part and amount; raises as `read_results` does."""
    results = read_results(folder / "results.csv")
    amounts = sorted({amount for _, amount in results.runs})
    found = [compare(results, part, amount) for part in PARTS for amount in amounts]
    for one in results.left_out:
        log.warning("left out: %s", one)
    return [one for one in found if one is not None]


def tables_of(folder: Path, comparisons: Sequence[Comparison]) -> Tables:
    """The tables that a page may have, by the names of its markers."""
    tables: dict[str, Callable[[], str]] = {"goal": partial(_goal, comparisons, "confirmation")}
    for one in comparisons:
        if one.part == "second":
            tables["goal second"] = partial(_goal, comparisons, one.part)
        tables[f"{one.part} {one.amount:g}"] = partial(losses, one)
        if one.amount == AMOUNT:
            for name in one.data:
                tables[f"read-outs {name}"] = partial(_read_outs, one, name)
    if (folder / "tuning.csv").exists():
        trials = read_tuning(folder / "tuning.csv")
        for part in dict.fromkeys(part_of(trial.data) for trial in trials):
            tables[f"tuning {part}"] = partial(tuned, trials, part)
        tables["same settings"] = partial(same_settings, trials)
    return tables


def _goal(comparisons: Sequence[Comparison], part: str) -> str:
    return goal_words(goal(comparisons, part))


def _read_outs(compared: Comparison, name: str) -> str:
    return read_outs(compared, name, read_outs_of(compared.runs[name]))


def blocks_of(text: str, page: Path) -> dict[str, str]:
    """What stands between the markers of a page, by name.

    Raises ConfigurationError for a marker without its end and for a name that stands twice.
    """
    found = BLOCK.findall(text)
    names = [name for name, _ in found]
    unended = [name for name, body in found if OPENING in body]
    if unended or len(found) != text.count(OPENING):
        raise ConfigurationError(
            f"{page}: a marker {OPENING} NAME --> has no end: {''.join(unended[:1])}."
            " Remedy: write <!-- end --> on a line below it."
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError(f"{page}: table {twice[0]!r} stands twice. Remedy: keep one.")
    return dict(found)


def rewritten(text: str, page: Path, tables: Tables) -> str:
    """The page with its tables written anew.

    Raises ConfigurationError as `blocks_of` does, and for a table that the results do not have.
    """
    unknown = [name for name in blocks_of(text, page) if name not in tables]
    if unknown:
        raise ConfigurationError(
            f"{page}: there is no table {unknown[0]!r}. Remedy: one of {', '.join(tables)}."
        )
    return BLOCK.sub(
        lambda block: f"<!-- table: {block[1]} -->\n\n{tables[block[1]]()}\n\n<!-- end -->", text
    )


def report(folder: Path, page: Path, check: bool) -> dict[str, Any]:
    """Write, or check, the page's tables and the folder's plots."""
    if not page.exists():
        raise ConfigurationError(f"--page = {page}: no such file. Remedy: write the page first.")
    comparisons = comparisons_of(folder)
    before = page.read_text(encoding="utf-8")
    after = rewritten(before, page, tables_of(folder, comparisons))
    old, new = blocks_of(before, page), blocks_of(after, page)
    differs = [f"table {name}" for name in new if old[name] != new[name]]
    drawn = {folder / f"{name}.svg": svg for name, svg in plots(comparisons).items()}
    for path, svg in drawn.items():
        if not path.exists() or path.read_text(encoding="utf-8") != svg:
            differs.append(f"plot {path.name}")
    if check:
        for one in differs:
            log.error("%s is not what the results say. Remedy: run %s", one, _command(folder, page))
        status = "differs" if differs else "as the results say"
        return {"status": status, "exit_code": int(bool(differs)), "differs": differs}
    page.write_text(after, encoding="utf-8")
    for path, svg in drawn.items():
        path.write_text(svg, encoding="utf-8")
    return {"status": "written", "changed": differs}


def _command(folder: Path, page: Path) -> str:
    return f"python -m benchmarks.study.report --folder {folder} --page {page}"


def command(argv: Sequence[str] | None) -> dict[str, Any]:
    """The result of a command line."""
    line = argparse.ArgumentParser(prog="python -m benchmarks.study.report", description=__doc__)
    line.formatter_class = argparse.RawDescriptionHelpFormatter
    line.add_argument("--folder", type=Path, default=FOLDER)
    line.add_argument("--page", type=Path, default=PAGE)
    line.add_argument("--check", action="store_true", help="write nothing; exit 1 on a difference")
    args = line.parse_args(argv)
    return report(args.folder, args.page, args.check)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code."""
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
