"""What README and docs/ name exists: files, modules, targets, commands, options, settings."""

import re
from pathlib import Path
from typing import get_args

import pytest

import tenforward
from schemas.pipeline import Pipeline

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = (
    "benchmarks|console|dags|demo|docs|inference|pipelines|schemas|setup|spark_jobs|tests|trainer"
)

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@pages
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)[^)]*\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pages
def test_files_exist(page: Path) -> None:
    named = re.findall(rf"(?<![\w/.-])(?:{FOLDERS})/[\w/.-]*\w\.[a-z0-9]+", page.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


@pages
def test_modules_exist(page: Path) -> None:
    named = re.findall(rf"-m ((?:{FOLDERS})[\w.]*\w)", page.read_text())
    places = {name: ROOT / name.replace(".", "/") for name in named}
    assert [
        name
        for name, place in places.items()
        if not place.with_suffix(".py").exists() and not (place / "__main__.py").exists()
    ] == []


def code(page: Path) -> list[str]:
    """Lines of blocks, fenced or indented, and spans of code; each on one line."""
    text = page.read_text().replace("\\\n", " ")
    fences = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    lines = [line for fence in fences for line in fence.splitlines()]
    lines += re.findall(r"^ {4,}(.+)$", rest, re.MULTILINE)
    return [" ".join(one.split()) for one in lines + re.findall(r"`([^`]+)`", rest)]


@pages
def test_targets_of_make_exist(page: Path) -> None:
    targets = re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = {line.split()[1] for line in code(page) if line.startswith("make ")}
    assert named - set(targets) == set()


@pages
def test_commands_and_their_options_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for line in code(page):
        if not (command := re.match(r"(?:\.venv/bin/)?tenforward ([a-z][a-z-]+)([^#|]*)", line)):
            continue
        name, rest = command.groups()
        assert name in tenforward.COMMANDS
        with pytest.raises(SystemExit):
            tenforward.main([name, "--help"])
        explained = re.findall(r"--[a-z-]+", capsys.readouterr().out)
        assert set(re.findall(r"--[a-z-]+", rest)) - set(explained) == set(), line


@pages
def test_settings_exist(page: Path) -> None:
    for section, name in re.findall(r"`([a-z_]+)\.([a-z_]+)\b", page.read_text()):
        if section in Pipeline.model_fields:
            assert name in settings(section), f"{section}.{name}"


def settings(section: str) -> set[str]:
    """Fields of a section of the pipeline file."""
    kind = Pipeline.model_fields[section].annotation
    kinds = [kind, *get_args(kind)]
    return {name for one in kinds for name in getattr(one, "model_fields", {})}
