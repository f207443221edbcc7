"""Write the licences of every package of requirements.lock, from the packages' own metadata.

Usage: licences.py TARGET, or `make licences`, where the packages are installed.
"""

import re
import sys
from importlib.metadata import distribution
from pathlib import Path

from packaging.markers import Marker

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
_PINNED = re.compile(r"^([A-Za-z0-9_.-]+)==(\S+)(?: ; (.+?))? \\$", re.MULTILINE)
PYTHONS = ("3.11", "3.12", "3.13")
LONGEST = 60  # characters of a line that names a licence; longer ones are the licence itself

# What says nothing in its metadata, and where it says it.
TOLD_ELSEWHERE = {
    "cuda-toolkit": "LicenseRef-NVIDIA-Proprietary",  # a list of NVIDIA's packages, without a file
    "skops": "MIT",  # its licence file
    "huey": "MIT",  # its licence file
    "pyyaml-ft": "MIT",  # its licence file; of Python 3.13 alone
}

HEAD = """\
# Licences of the dependencies

Every package of `requirements.lock` with the licence that its own metadata names. Written by
`make licences`; `tests/test_supply.py` holds it to the lock file. Beside them `make setup` fetches
Delta's two jars (Apache-2.0) and finds or installs a Java (GPL-2.0 with the Classpath exception).

| package | version | licence |
|---|---|---|
"""


def pinned() -> dict[str, str]:
    """The version of each package of the lock file by name, or those of several Pythons; without
    what only other systems need."""
    versions: dict[str, list[str]] = {}
    for name, version, marker in _PINNED.findall(LOCK.read_text(encoding="utf-8")):
        if not marker or any(_holds(marker, python) for python in PYTHONS):
            versions.setdefault(name, []).append(version)
    return {name: ", ".join(found) for name, found in versions.items()}


def _holds(marker: str, python: str) -> bool:
    of = {"python_version": python, "python_full_version": f"{python}.0"}
    return Marker(marker).evaluate(of)


def licence_of(name: str) -> str:
    """What an installed package says of its licence, in a line; "" where it says nothing."""
    if name in TOLD_ELSEWHERE:
        return TOLD_ELSEWHERE[name]
    told = distribution(name).metadata
    classified = [
        line.rpartition(" :: ")[2]
        for line in told.get_all("Classifier") or []
        if line.startswith("License :: ") and line != "License :: OSI Approved"
    ]
    lines = [
        ", ".join(classified),
        told.get("License"),
    ]
    expression = " ".join((told.get("License-Expression") or "").split())
    return expression or next((line for line in map(_short, lines) if line), "")


def _short(line: str | None) -> str:
    """A line that names a licence; "" where it is the whole text, or names none."""
    text = " ".join((line or "").split()).replace("|", "/")
    return text if len(text) <= LONGEST and text.lower() not in ("unknown", "none") else ""


def main(target: Path) -> int:
    """Write the page; 1 where a package says nothing of its licence."""
    found = {name: (version, licence_of(name)) for name, version in sorted(pinned().items())}
    silent = [name for name, (_, licence) in found.items() if not licence]
    if silent:
        print(
            f"licences: {', '.join(silent)}: none named. Remedy: look at the package, and name its"
            " licence in TOLD_ELSEWHERE.",
            file=sys.stderr,
        )
        return 1
    rows = [f"| {name} | {version} | {licence} |" for name, (version, licence) in found.items()]
    target.write_text(HEAD + "\n".join(rows) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
