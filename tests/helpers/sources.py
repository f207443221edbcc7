"""The repository's Python sources and what they import, read with `ast`: nothing is run."""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

# What is installed, and sent along with a job.
PACKAGES = ("console", "inference", "schemas", "spark_jobs", "trainer")
# Every folder that holds Python.
FOLDERS = (*PACKAGES, "benchmarks", "dags", "demo", "docs", "pipelines", "reference", "setup")


class Import(NamedTuple):
    """One name that a file imports."""

    file: str  # relative to the repository
    line: int
    name: str  # dotted; a module of the repository where it is one
    deferred: bool  # in a function, or for type checkers alone: importing the file does not load it

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.name}"

    @property
    def top(self) -> str:
        """The first part of the name."""
        return self.name.partition(".")[0]


@cache
def files(*folders: str) -> tuple[str, ...]:
    """Python files below the folders, all of the repository's if none is named; sorted."""
    found = [
        file for name in folders or (*FOLDERS, "tests") for file in (ROOT / name).rglob("*.py")
    ]
    found += [] if folders else ROOT.glob("*.py")
    return tuple(sorted(str(file.relative_to(ROOT)) for file in found))


@cache
def parsed(file: str) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse((ROOT / file).read_text(encoding="utf-8"), file)


@cache
def modules() -> dict[str, str]:
    """Dotted name -> file, of all modules of the repository."""
    names = {file.removesuffix(".py").replace("/", "."): file for file in files()}
    return {name.removesuffix(".__init__"): file for name, file in names.items()}


@cache
def imports(file: str) -> tuple[Import, ...]:
    """What a file imports, in the order of its lines; relative imports are not used here."""
    return tuple(sorted(_imports(parsed(file), file, False), key=lambda one: one.line))


def _imports(node: ast.AST, file: str, deferred: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(file, child.lineno, alias.name, deferred)
        elif isinstance(child, ast.ImportFrom):
            assert child.module is not None, f"{file}:{child.lineno}: a relative import"
            assert child.level == 0, f"{file}:{child.lineno}: a relative import"
            for alias in child.names:
                whole = f"{child.module}.{alias.name}"
                name = whole if whole in modules() else child.module
                yield Import(file, child.lineno, name, deferred)
        else:
            later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) or (
                isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
            )
            yield from _imports(child, file, deferred or later)


def of(*folders: str) -> list[Import]:
    """What the files below the folders import."""
    return [one for file in files(*folders) for one in imports(file)]


def ways_to(targets: Iterable[str], start: str, *, deferred: bool) -> list[str]:
    """How `start`, a file, comes to import one of the `targets`, first parts of module names.

    Follows imports within the repository, and the packages that a module lies in; those in
    functions and for type checkers only if `deferred`. Each way is a line of `file:line -> ...`.
    """
    wanted, seen, found = set(targets), {start}, []
    queue: list[tuple[str, tuple[str, ...]]] = [(start, ())]
    queue += [(file, ()) for file in _along(_module_of(start)) if file != start]
    for file, way in queue:
        for one in imports(file):
            if one.deferred and not deferred:
                continue
            there = (*way, f"{one.file}:{one.line}")
            if one.top in wanted:
                found.append(" -> ".join([*there, one.name]))
            fresh = [other for other in _along(one.name) if other not in seen]
            seen.update(fresh)
            queue += [(other, there) for other in fresh]
    return found


def _module_of(file: str) -> str:
    return file.removesuffix(".py").replace("/", ".")


def _along(name: str) -> list[str]:
    """Files that importing a module runs: those of the packages that it lies in, then its own."""
    parts = name.split(".")
    ways = [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    return [modules()[way] for way in ways if way in modules()]
