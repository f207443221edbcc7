"""`tenforward COMMAND ...`, whose subcommands are the jobs, and the one name to import:

    from tenforward import ForwardRecorder, LiveChampion, draw, encode, estimate, read_refresh

What a name needs is imported when it is first used, so that none asks for Spark or torch, and the
command starts at once.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inference.champion import LiveChampion
    from inference.encoding import encode
    from inference.recorder import ForwardRecorder
    from spark_jobs.estimation.estimate import estimate
    from spark_jobs.selection.draw import draw
    from trainer.data.table import read_refresh, torch_dataset

__all__ = [
    "COMMANDS",
    "ForwardRecorder",
    "LiveChampion",
    "draw",
    "encode",
    "estimate",
    "main",
    "read_refresh",
    "torch_dataset",
    "usage",
]

# Where each public name stands; __getattr__ fetches it from there.
PUBLIC = {
    "ForwardRecorder": "inference.recorder",
    "LiveChampion": "inference.champion",
    "draw": "spark_jobs.selection.draw",
    "encode": "inference.encoding",
    "estimate": "spark_jobs.estimation.estimate",
    "read_refresh": "trainer.data.table",
    "torch_dataset": "trainer.data.table",
}

COMMANDS: dict[str, tuple[str, str]] = {
    "new": ("console.new", "a commented pipeline file, and a script that makes a few rows"),
    "from-feast": ("console.from_feast", "a pipeline file from a Feast repository"),
    "describe": ("console.describe", "the columns that each table of a pipeline has, and needs"),
    "validate": ("console.validate", "every fault of a pipeline file and its warehouse"),
    "init": ("spark_jobs.create_tables", "create the tables of a pipeline"),
    "ingest": ("spark_jobs.ingest", "fill the feature store from the pipeline's source"),
    "bootstrap": ("spark_jobs.bootstrap", "write the first refresh, before any model serves"),
    "score": ("spark_jobs.score", "the champion scores a day and leaves forward records"),
    "import-records": ("spark_jobs.import_records", "records from a log of predictions of yours"),
    "due": ("spark_jobs.due", "whether [schedule] asks for a refresh of a day"),
    "select": ("spark_jobs.select_sample", "choose a day's training rows from the records"),
    "estimate": (
        "spark_jobs.estimate",
        "what a challenger, or an answer about the drawn, would be on all instances",
    ),
    "compare": ("spark_jobs.compare", "which policy and budget suit these records, untrained"),
    "train": ("trainer.train", "train on a refresh; promote if the gate passes"),
    "register": ("trainer.register", "a model trained elsewhere, through the gate to serve"),
    "rollback": ("trainer.rollback", "let an earlier model version serve again"),
    "status": ("console.status", "the last refreshes, their models, and the one that serves"),
    "show": ("console.show", "one refresh, what it was made from and what was trained on it"),
    "diff": ("console.diff", "what changed from one refresh to another"),
    "explain": ("console.explain", "one instance: its records, refreshes, and who learnt from it"),
    "set-aside": ("console.set_aside", "instances that no refresh is to draw any more"),
    "monitor": ("spark_jobs.monitor", "how the served models do by day, from records and labels"),
    "check": ("spark_jobs.check", "are tables, also your own, and their rows as they should be"),
    "migrate": (
        "spark_jobs.migrate",
        "bring the tables along with a changed pipeline file or a new name",
    ),
    "maintain": ("spark_jobs.maintain", "compact small files, expire rows, delete unused files"),
    "backfill": ("spark_jobs.backfill", "score, select and train over a range of days"),
}


def __getattr__(name: str) -> Any:
    """A public name that has not been used yet (PEP 562); found here from then on."""
    if name not in PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(PUBLIC[name]), name)
    except ModuleNotFoundError as error:
        from schemas.extras import missing

        raise missing(error) or error from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *PUBLIC})


def usage() -> str:
    """The list of subcommands."""
    lines = [f"  {name:<14} {meaning}" for name, (_, meaning) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: tenforward COMMAND [OPTIONS]",
            "",
            *lines,
            "",
            "COMMAND --help says more; --version says which this is.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"tenforward {version('tenforward')}")
        return 0
    if arguments[0] not in COMMANDS:
        print(f"tenforward: {arguments[0]!r} is not a command.\n\n{usage()}", file=sys.stderr)
        return 2
    return _run(COMMANDS[arguments[0]][0], arguments[1:])


def _run(name: str, arguments: list[str]) -> int:
    """Run a command's module; one whose packages are not installed is refused as any command is."""
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        from schemas.command import run_command

        absent = error

        def refuse(_: object) -> dict[str, Any]:
            raise absent

        return run_command(refuse, [])
    return int(module.main(arguments))


if __name__ == "__main__":
    sys.exit(main())
