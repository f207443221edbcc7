"""What is installed is what was locked: sums are enforced, and every licence is on its page."""

import importlib.util
import re
from pathlib import Path

import pytest

from tests.helpers.sources import ROOT

LOCKS = ("requirements.lock", "requirements-airflow.lock", "setup/uv.lock")
SCRIPTS = sorted((ROOT / "setup").glob("*.sh"))


def commands(script: Path) -> list[str]:
    """The lines of a script, continued ones joined, without comments."""
    text = script.read_text(encoding="utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if not line.lstrip().startswith("#")]


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_of_a_lock_is_pinned_with_its_sums(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)
    entries = [entry for entry in entries if re.match(r"[A-Za-z0-9]", entry)]
    assert entries
    for entry in entries:
        assert re.match(r"[\w.-]+(\[[\w,-]+\])?==\S+ ", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry
    assert "://" not in text


def test_whatever_is_installed_is_held_to_its_sum() -> None:
    """But for this checkout itself, which asks for nothing."""
    installs = [
        (script.name, line)
        for script in SCRIPTS
        for line in commands(script)
        if re.search(r"pip\W.*\b(install|sync)\b", line) and "die " not in line
    ]
    assert len(installs) == 3
    told = [one for one in installs if "--require-hashes" not in one[1]]
    assert [line.split()[-6:] for _, line in told if "pip install -e" not in line] == [
        ["install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", "."]
    ]


@pytest.mark.parametrize("script", ["delta_jars.sh", "s3_jars.sh", "study_data.sh"])
def test_whatever_else_is_fetched_is_held_to_a_committed_sum(script: str) -> None:
    sums = (ROOT / "setup" / script).with_suffix(".sha256").read_text(encoding="utf-8").split()
    assert all(re.fullmatch(r"[0-9a-f]{64}", one) for one in sums[::2])
    assert "sha256sum" in (ROOT / "setup" / script).read_text(encoding="utf-8")


def test_no_other_script_fetches_anything() -> None:
    known = {"environment.sh", "delta_jars.sh", "s3_jars.sh", "study_data.sh", "java.sh"}
    words = r"--packages|\b(curl|wget|npm|apt-get (install|download)|pip install|pip download)\b"
    assert {script.name for script in SCRIPTS if re.search(words, script.read_text())} <= known


def test_the_page_of_licences_names_every_package_of_the_lock() -> None:
    spec = importlib.util.spec_from_file_location("licences", ROOT / "setup" / "licences.py")
    assert spec is not None
    assert spec.loader is not None
    licences = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(licences)
    page = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\S+) \| (\S+(?:, \S+)*) \| (.+) \|$", page, re.MULTILINE)[1:]
    told = {name: version for name, version, _ in rows}
    assert told == licences.pinned(), "make licences"
    assert all(licence.strip() for _, _, licence in rows)
    few = ("pyspark", "torch", "mlflow", "huey", "numpy")
    assert {name: licences.licence_of(name) for name in few} == {
        name: licence for name, _, licence in rows if name in few
    }
