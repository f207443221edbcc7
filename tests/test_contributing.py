"""What CONTRIBUTING.md promises of the checks: the hooks of pre-commit are `make lint`."""

import re

from tests.helpers.sources import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
HOOKS = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")


def test_the_hooks_run_what_make_lint_runs() -> None:
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    python = re.search(r"^python := (.*)$", MAKEFILE, re.MULTILINE)
    assert recipe is not None
    assert python is not None
    lines = [line.strip().removeprefix("@") for line in recipe[1].splitlines()]
    wanted = [line.replace("$(python)", python[1]) for line in lines]
    assert re.findall(r"^ +entry: (.*)$", HOOKS, re.MULTILINE) == wanted


def test_the_hooks_download_nothing() -> None:
    assert set(re.findall(r"repo: (.*)", HOOKS)) == {"local"}
    assert set(re.findall(r"language: (.*)", HOOKS)) == {"system"}
    assert "://" not in HOOKS


def test_what_runs_on_every_change_is_what_the_page_says() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    run = re.findall(r"^make \S+", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    assert [line for line in run if f"    {line}" not in page] == []
