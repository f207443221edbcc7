"""Mistakes in a pipeline file: a shipped one with something changed, and what is told of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.sections.fault import Fault
from schemas.validation.examine import examine

FLIGHTS, DELAY, MNIST = (Path(f"pipelines/{name}.toml") for name in ("flights", "delay", "mnist"))
DISTANCE = 'distance = { kind = "number" }'
AGAIN = '[[feature_views]]\nname = "weather"\nentity = ["dest"]\ncolumns = {}\n'
LATE = 'late = { type = "float64", doc = "1 where'
SEED = "\nseed = 7"
OWN = 'name = "convolutional"\nchannels = [16, 32]\nhidden = [64]'


def faults(folder: Path, file: Path, *changes: tuple[str, str]) -> list[Fault]:
    """What is wrong with a shipped file of which each old text has become the new one."""
    text = file.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    (folder / "p.toml").write_text(text, encoding="utf-8")
    return examine(str(folder / "p.toml"), None, writes=True, trains=True).faults


def feature(name: str) -> tuple[str, str]:
    """The feature `distance` under another name."""
    return DISTANCE, f'{name} = {{ kind = "number", source = "instances.distance" }}'


def column(section: str, line: str) -> tuple[str, str]:
    """One more column."""
    return f"[{section}.columns]\n", f"[{section}.columns]\n{line}\n"


def selection(*lines: str) -> tuple[str, str]:
    """More lines of [selection]."""
    return SEED, "\n".join([SEED, *lines])


def training(*lines: str) -> tuple[str, str]:
    """More lines of [training]."""
    return "epochs = 1 ", "\n".join([*lines, "epochs = 1 "])


def policy(*lines: str) -> tuple[str, str]:
    """Another policy, or more of it."""
    return 'policy = "calibrated"', "\n".join(lines)


def cases(*tables: dict[str, Any]) -> Iterator[Any]:
    for table in tables:
        for what, (file, changes, words) in table.items():
            field = what.partition(" = ")[0].partition(":")[0]
            yield pytest.param(file, changes, field, words, id=what)


def require_one_fault(told: list[Fault], field: str, words: str) -> None:
    """The only fault is of this field, in these words, with a remedy."""
    [fault] = told
    assert fault.field == field
    assert words in str(fault)
    assert "Remedy: " in str(fault)
