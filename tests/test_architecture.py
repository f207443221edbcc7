"""The import rules and the sizes of docs/architecture.md, held on the sources as they stand.

Sources are read, not run. Each failure names file and line.
"""

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions

import pytest

import tenforward
from schemas.sections.model import SETTINGS
from tests.helpers.sources import (
    FOLDERS,
    PACKAGES,
    ROOT,
    Import,
    files,
    imports,
    modules,
    of,
    parsed,
    ways_to,
)
from trainer.models.model import MODELS

# Who may import whom. `dags` is held to Airflow and the standard library by tests/test_dags.py.
MAY: dict[str, set[str]] = {
    "schemas": set(),
    "inference": {"schemas"},
    "console": {"schemas"},
    "trainer": {"schemas", "inference"},
    "spark_jobs": {"schemas", "inference"},
    "tenforward": {"inference", "schemas", "spark_jobs", "trainer"},
    "demo": {"schemas", "inference", "console", "trainer", "spark_jobs", "tenforward"},
    "pipelines": {"schemas"},
    "setup": {"spark_jobs"},
    "reference": {"schemas", "spark_jobs"},
    "benchmarks": {*PACKAGES, "demo", "reference", "tenforward"},
}
# Files that may import more than their folder.
EXCEPT = {
    "spark_jobs/backfill.py": {"trainer"},  # it runs trainings
    "console/explain.py": {"spark_jobs"},  # it draws again, by what drew
    "schemas/validation/parts.py": {"spark_jobs"},  # it asks which policies and sources there are
    "tests/test_bench_check.py": {"benchmarks"},  # it is the test of one
    "tests/test_cost.py": {"benchmarks"},  # so are these
    "tests/test_gpu_benchmark.py": {"benchmarks"},
    "tests/test_study_averaging.py": {"benchmarks"},
    "tests/test_study_loop.py": {"benchmarks"},
    "tests/test_study_page.py": {"benchmarks"},
    "tests/test_study_r_data.py": {"benchmarks"},
    "tests/test_study_results.py": {"benchmarks"},
    "tests/test_study_same_settings.py": {"benchmarks"},
    "tests/test_study_statistics.py": {"benchmarks"},
    "tests/test_study_streams.py": {"benchmarks"},
    "tests/test_study_tuning.py": {"benchmarks"},
}

OURS = {*FOLDERS, "tests", "tenforward"}
DAGS = {"dags", *(entry.stem for entry in (ROOT / "dags").iterdir())}
SPARK = {"pyspark", "py4j", "delta"}
TORCH = {"torch", "petastorm"}
JOBS = {file for file in files("spark_jobs") if file.count("/") == 1} - {"spark_jobs/__init__.py"}

LINES_OF_A_FILE = 400
LINES_OF_A_FUNCTION = 60


def told(offending: list[Import]) -> list[str]:
    return [str(one) for one in offending]


@pytest.mark.parametrize("folder", list(MAY))
def test_a_folder_imports_only_what_it_may(folder: str) -> None:
    found = list(imports("tenforward.py")) if folder == "tenforward" else of(folder)
    may = MAY[folder] | {folder}
    outside = [one for one in found if one.top in OURS - may - EXCEPT.get(one.file, set())]
    assert told(outside) == []


def test_the_page_says_who_may_import_whom() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)/` \| .* \| ?(.*) \|$", page, re.MULTILINE)
    told = {folder: set(re.findall(r"`(\w+)`", may)) for folder, may in rows}
    others = {"tests": {"benchmarks"}, "dags": set()}  # `tests` may import everything but that
    assert told == {name: may for name, may in MAY.items() if name != "tenforward"} | others


def test_every_folder_has_its_rule() -> None:
    assert {*MAY, "dags", "docs"} == {*FOLDERS, "tenforward"}
    seen = {file.parent.name for file in ROOT.glob("*/*.py")}
    assert seen <= {*FOLDERS, "tests"}, "a new folder of Python belongs into tests/helpers/sources"


def test_nothing_imports_the_dags() -> None:
    others = [
        one for file in files() if not file.startswith(("dags/", "tests/")) for one in imports(file)
    ]
    assert told([one for one in others if one.top in DAGS]) == []


def test_tests_do_not_import_benchmarks() -> None:
    outside = [
        one for one in of("tests") if one.top in {"benchmarks"} - EXCEPT.get(one.file, set())
    ]
    assert told(outside) == []


# --- spark_jobs/ and trainer/: jobs on top, parts in rooms ---


def test_jobs_import_parts_and_never_other_jobs() -> None:
    inside = [one for one in of("spark_jobs") if modules().get(one.name) in JOBS]
    assert told([one for one in inside if one.file != "spark_jobs/backfill.py"]) == []


def test_parts_of_the_trainer_do_not_import_its_commands() -> None:
    commands = {"trainer/train.py", "trainer/rollback.py"}
    inside = [one for one in of("trainer") if modules().get(one.name) in commands]
    assert told(inside) == []


@pytest.mark.parametrize("package", ["spark_jobs", "trainer"])
def test_rooms_import_each_other_in_no_circle(package: str) -> None:
    needs: dict[str, set[str]] = defaultdict(set)
    for one in of(package):
        here, there = room(one.file), room(modules().get(one.name, ""))
        if here and there and here != there and not one.deferred:
            needs[here].add(there)
    TopologicalSorter(needs).prepare()  # CycleError names the rooms of a circle


def room(file: str) -> str:
    """The folder below spark_jobs/ or trainer/ that a file lies in; nothing on the top level."""
    parts = file.split("/")
    return parts[1] if len(parts) > 2 else ""


def test_every_job_and_every_command_is_a_subcommand_of_tenforward() -> None:
    runnable = {
        file
        for file in files(*PACKAGES)
        if any(
            isinstance(node, ast.FunctionDef) and node.name == "main" for node in parsed(file).body
        )
    }
    named = {modules()[module] for module, _ in tenforward.COMMANDS.values()}
    assert runnable == named
    assert named >= JOBS


def test_no_name_in_spark_jobs_shadows_a_module() -> None:
    """spark-submit puts a job's folder first on the import path."""
    names = {entry.stem for entry in (ROOT / "spark_jobs").iterdir()}
    assert names & (sys.stdlib_module_names | set(packages_distributions())) == set()


def test_every_model_has_its_settings() -> None:
    assert MODELS.keys() == SETTINGS.keys()


# --- without Spark, without torch ---


def test_the_search_finds_what_is_there() -> None:
    """Or the tests below would pass whatever is imported."""
    assert any(
        " -> pyspark" in way for way in ways_to(SPARK, "spark_jobs/score.py", deferred=False)
    )
    train = ways_to(TORCH, "spark_jobs/backfill.py", deferred=True)
    assert any(way.startswith("spark_jobs/backfill.py:") for way in train)
    now = ways_to(TORCH, "spark_jobs/backfill.py", deferred=False)
    assert not any("trainer/train.py" in way for way in now)


@pytest.mark.parametrize("part", ["selection", "estimation"])
def test_selection_and_estimation_reach_neither_spark_nor_torch(part: str) -> None:
    assert reached(files(f"spark_jobs/{part}"), SPARK | TORCH, deferred=True) == []


def test_the_schemas_reach_neither_spark_nor_torch() -> None:
    assert reached(files("schemas"), SPARK | TORCH, deferred=True) == []


def test_the_recorder_reaches_neither_spark_nor_torch() -> None:
    assert reached(("inference/recorder.py",), SPARK | TORCH, deferred=True) == []


def test_inference_reaches_no_spark() -> None:
    assert reached(files("inference"), SPARK, deferred=True) == []


def test_the_trainer_reaches_no_spark() -> None:
    assert reached(files("trainer"), SPARK, deferred=True) == []


def test_the_console_starts_without_spark_and_torch() -> None:
    assert reached(files("console"), SPARK | TORCH, deferred=False) == []


def reached(starts: tuple[str, ...], targets: set[str], *, deferred: bool) -> list[str]:
    return [way for start in starts for way in ways_to(targets, start, deferred=deferred)]


# --- what is installed and sent along ---


def test_every_folder_of_a_package_says_what_it_holds() -> None:
    """Also: without `__init__.py` neither the wheel nor the zip would have the folder."""
    folders = {(ROOT / file).parent for file in files(*PACKAGES)}
    silent = [
        str(folder.relative_to(ROOT))
        for folder in folders
        if not (folder / "__init__.py").exists()
        or not ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
    ]
    assert silent == []


def test_the_wheel_and_the_zip_have_every_package() -> None:
    wheel = re.search(r"^include = \[(.*)\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    zipped = re.search(r"\$\(shell find (.*?) tenforward\.py", (ROOT / "Makefile").read_text())
    assert wheel is not None
    assert zipped is not None
    assert set(re.findall(r'"(\w+)\*"', wheel[1])) == set(PACKAGES)
    assert set(zipped[1].split()) == set(PACKAGES)


# --- sizes ---


def test_no_file_is_too_long() -> None:
    lengths = {file: len((ROOT / file).read_text().splitlines()) for file in files()}
    assert {file: n for file, n in lengths.items() if n > LINES_OF_A_FILE} == {}


def test_every_function_fits_on_a_screen() -> None:
    long = [
        f"{file}:{node.lineno} {node.name} has {lines} lines"
        for file in files()
        for node in functions(file)
        if (lines := (node.end_lineno or 0) - node.lineno + 1) > LINES_OF_A_FUNCTION
    ]
    assert long == []


def functions(file: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
