"""The extras of pyproject.toml, and what is said where one is not installed."""

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest

from schemas import extras
from schemas.errors import ConfigurationError
from schemas.extras import EXTRAS, require_petastorm
from schemas.faults import fault_of

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OPTIONAL: dict[str, list[str]] = PROJECT["optional-dependencies"]
# Of an environment of its own: what it asks for does not go with the lock.
APART = {"feast"}


def names(requirements: list[str]) -> set[str]:
    """The distributions that requirements name; extras of this one are followed."""
    found = set()
    for one in requirements:
        ours = re.fullmatch(r"tenforward\[(\w+)\]", one)
        found |= names(OPTIONAL[ours[1]]) if ours else {re.split(r"[\[<>=!~ ]", one)[0].lower()}
    return found


def python(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_extra_that_a_remedy_names_brings_the_package() -> None:
    distributions = packages_distributions()
    for package, extra in EXTRAS.items():
        if extra in APART:
            assert package in names(OPTIONAL[extra])
            continue
        brought = {name.lower().replace("_", "-") for name in distributions[package]}
        assert brought & names(OPTIONAL[extra]), f"{package} is not in {extra}"


def test_the_lock_has_every_package_of_every_extra() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = dict(re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==([\w.]+) ", lock, re.MULTILINE))
    ours = [wanted for extra, wanted in OPTIONAL.items() if extra not in APART]
    wanted = names([*PROJECT["dependencies"], *chain.from_iterable(ours)])
    assert {name.replace("_", "-") for name in wanted} <= set(locked)
    assert locked["petastorm"] == extras.PETASTORM


def test_the_core_and_select_are_free_of_the_pins_of_the_others() -> None:
    light = [*PROJECT["dependencies"], *OPTIONAL["select"]]
    assert [one for one in light if "==" in one] == []
    assert PROJECT["requires-python"] == ">=3.11"
    assert [one for one in light if re.match(r"(numpy|pyarrow)\b.*<", one)] == []


def test_a_command_without_its_packages_ends_with_2_and_the_remedy() -> None:
    run = python(
        "import sys; sys.modules['torch'] = None\n"
        "import tenforward; sys.exit(tenforward.main(['train', '--pipeline', 'p.toml']))"
    )
    told = json.loads(run.stdout)
    assert run.returncode == told["exit_code"] == 2
    assert told["error"] == (
        "package torch is not installed. Remedy: pip install 'tenforward[trainer]'."
    )


@pytest.mark.parametrize(("name", "package"), [("draw", "numba"), ("torch_dataset", "torch")])
def test_so_does_a_public_name(name: str, package: str) -> None:
    run = python(
        f"import sys; sys.modules[{package!r}] = None\n"
        f"import pyarrow as pa; from tenforward import {name}; {name}(pa.table({{}}))"
    )
    assert f"package {package} is not installed" in run.stderr
    assert run.returncode == 1


def test_a_module_that_no_extra_brings_is_not_explained() -> None:
    assert fault_of(ModuleNotFoundError("No module named 'x'", name="x")) is None
    assert isinstance(fault_of(ModuleNotFoundError("...", name="mlflow.x")), ConfigurationError)


@pytest.mark.parametrize("found", ["0.13.1", "none"])
def test_another_petastorm_is_refused(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(_: str) -> str:
        if found == "none":
            raise ModuleNotFoundError("petastorm")
        return found

    monkeypatch.setattr(extras, "version", version)
    with pytest.raises(ConfigurationError, match=f'petastorm = {found}: .*reader = "arrow"'):
        require_petastorm()
