"""Write a Python with what the jobs import, for "spark-submit --archives env.tar.gz#env".

Usage: package.py TARGET [DISTRIBUTION...]

The archive needs no Python on the cluster's machines, and works wherever it is unpacked: it holds
the interpreter, its standard library and, as they are installed here, the distributions of the
extra `spark`, those that a driver in cluster mode needs for the registry, and the ones named. Spark
brings pyspark itself. The same environment gives the same bytes.
"""

import gzip
import os
import sys
import sysconfig
import tarfile
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from io import BytesIO
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
DRIVER = ("mlflow-skinny", "boto3")  # the registry, and bundles on an object store
# The cluster's Spark brings pyspark; triton compiles for GPUs, which scoring does not use.
LEFT_OUT = {"pyspark", "py4j", "triton"}
STDLIB_LEFT_OUT = {"__pycache__", "site-packages", "dist-packages", "test", "tests", "idlelib",
                   "tkinter", "turtledemo", "ensurepip", "lib2to3"}  # fmt: skip
VERSION = f"python{sysconfig.get_python_version()}"

WRAPPER = f"""#!/bin/sh
# The interpreter beside this file, wherever both were unpacked.
home=$(cd "$(dirname "$0")/.." && pwd)
export PYTHONHOME="$home"
export PYTHONPATH="${{PYTHONPATH:+$PYTHONPATH:}}$home/lib/{VERSION}/site-packages"
export LD_LIBRARY_PATH="$home/lib${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"
exec "$home/bin/{VERSION}" "$@"
"""


def wanted(extra: list[str]) -> list[str]:
    """Requirements of the core, of the extra `spark`, of the driver and of the command line."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    spark = project["optional-dependencies"]["spark"]
    return [*project["dependencies"], *spark, *DRIVER, *extra]


def closure(requirements: list[str]) -> list[str]:
    """Names of the installed distributions that the requirements need, sorted."""
    closed: set[str] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        needed = waiting.pop()
        name = needed.name.lower().replace("_", "-").replace(".", "-")
        if name in closed | LEFT_OUT:
            continue
        try:
            requires = distribution(name).requires or []
        except PackageNotFoundError:
            sys.exit(f"{name} is not installed here, and the archive needs it. Run: make setup")
        closed.add(name)
        for text in requires:
            one = Requirement(text)
            extras = needed.extras or {""}
            if one.marker is None or any(one.marker.evaluate({"extra": e}) for e in extras):
                waiting.append(one)
    return sorted(closed)


def package_files(names: list[str]) -> Iterator[tuple[str, Path]]:
    """Each installed file of the distributions, with its place in the archive."""
    for name in names:
        for file in distribution(name).files or []:
            # What lies outside site-packages are commands, which name this machine's Python.
            if ".." not in file.parts and file.suffix != ".pyc":
                yield f"lib/{VERSION}/site-packages/{file}", Path(str(file.locate()))


def interpreter_files() -> Iterator[tuple[str, Path]]:
    """The interpreter that this environment is made from, and its standard library."""
    yield f"bin/{VERSION}", Path(sys.executable).resolve()
    shared = Path(sysconfig.get_config_var("LIBDIR") or "", sysconfig.get_config_var("LDLIBRARY"))
    if sysconfig.get_config_var("Py_ENABLE_SHARED"):
        # The name that the linker looks for ends in .so.1.0, the other one is for compilers.
        yield f"lib/{shared.name}.1.0", shared.resolve()
    library = Path(sysconfig.get_paths()["stdlib"])
    for folder, folders, files in os.walk(library):
        folders[:] = [f for f in folders if f not in STDLIB_LEFT_OUT and "config-" not in f]
        place = Path(folder).relative_to(library)
        for file in files:
            yield f"lib/{VERSION}/{place / file}", Path(folder, file)


def write(target: Path, files: dict[str, Path]) -> None:
    """Write the archive: names in order, no dates, no owners."""
    part = target.with_suffix(".part")
    target.parent.mkdir(parents=True, exist_ok=True)
    # Level 1: a minute less than level 9 for a few per cent more bytes.
    with (
        part.open("wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1, mtime=0, filename="") as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        entry = tarfile.TarInfo("bin/python")
        entry.mode, entry.size = 0o755, len(WRAPPER)
        archive.addfile(entry, BytesIO(WRAPPER.encode()))
        for name in sorted(files):
            content = files[name].read_bytes()
            entry = tarfile.TarInfo(name)
            entry.mode = 0o755 if os.access(files[name], os.X_OK) else 0o644
            entry.size = len(content)
            archive.addfile(entry, BytesIO(content))
    os.replace(part, target)


def main() -> None:
    """Gather, write, say how large it is."""
    target, *extra = sys.argv[1:]
    names = closure(wanted(extra))
    files = dict(interpreter_files()) | dict(package_files(names))
    write(Path(target), files)
    size = Path(target).stat().st_size
    print(f"{target}: {size / 1e6:.0f} MB, {len(names)} packages: {' '.join(names)}")


main()
