"""One word, one thing: names that mean two things are refused here."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import tenforward

ROOT = Path(tenforward.__file__).parent
PRODUCT = ("console", "dags", "demo", "inference", "schemas", "spark_jobs", "trainer")
BESIDE = ("benchmarks", "reference", "setup", "tests")


def modules(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    """Every module of the folders, parsed, by its path in the repository."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def test_no_two_classes_bear_one_name():
    places = defaultdict(list)
    for path, module in modules(*PRODUCT):
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(path)
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def test_snapshot_is_of_delta_rs_and_delta_table_of_spark():
    libraries = {"deltalake": "Snapshot", "delta.tables": "DeltaTable"}
    others = [
        f"{path}: {alias.name} of {node.module} as {alias.asname or alias.name}"
        for path, module in modules(*PRODUCT, *BESIDE)
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom) and node.module in libraries
        for alias in node.names
        if alias.name == "DeltaTable" and (alias.asname or alias.name) != libraries[node.module]
    ]
    assert others == []


def test_there_is_one_logger():
    elsewhere = [
        path
        for path, module in modules(*PRODUCT)
        for node in ast.walk(module)
        if isinstance(node, ast.Call)
        and ast.unparse(node) == "logging.getLogger('tenforward')"
        and path != "schemas/log.py"
    ]
    assert elsewhere == []
