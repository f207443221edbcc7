"""What README, docs/ and their like name exists: files, modules, targets, commands, options,
settings, laws. And what can be chosen by name is on its page."""

import re
from pathlib import Path
from typing import get_args

import pytest

import tenforward
from schemas.pipeline import Pipeline
from schemas.sections.model import SETTINGS
from spark_jobs.selection.designs import DESIGNS
from spark_jobs.selection.policies import POLICIES
from spark_jobs.selection.scores import SCORES
from spark_jobs.selection.weights import WEIGHTINGS
from spark_jobs.sources import SOURCES
from tests.helpers import sources
from tests.helpers.sources import ROOT

DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG")), *DOCS]
FOLDERS = "|".join((*sources.FOLDERS, "tests"))

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@pages
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)[^)]*\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pages
def test_links_lead_to_headings(page: Path) -> None:
    for link, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text()):
        text = (page.parent / link if link else page).read_text()
        titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        named = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
        assert anchor in named, f"{link}#{anchor}"


def test_every_page_is_linked() -> None:
    linked = {
        (page.parent / link).resolve()
        for page in PAGES
        for link in re.findall(r"\]\(([^)#:]+)[^)]*\)", page.read_text())
    }
    assert [page.name for page in PAGES[1:] if page not in linked] == []


@pages
def test_folders_exist(page: Path) -> None:
    named = re.findall(rf"`((?:{FOLDERS})/(?:\w+/)*)`", page.read_text())
    assert [name for name in named if not (ROOT / name).is_dir()] == []


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


@pages
def test_dotted_names_exist(page: Path) -> None:
    packages = "|".join(sources.PACKAGES)
    for name in re.findall(rf"`((?:{packages})(?:\.\w+)+)`", page.read_text()):
        module, _, last = name.rpartition(".")
        if name not in sources.modules():
            tree = sources.parsed(sources.modules()[module])
            assert last in {getattr(node, "name", None) for node in tree.body}, name


def test_sources_cite_pages_that_exist() -> None:
    files = [ROOT / "Makefile", ROOT / "pyproject.toml", *(ROOT / "pipelines").glob("*.toml")]
    files += [ROOT / name for name in sources.files()]
    there = {page.name for page in PAGES} | {str(page.relative_to(ROOT)) for page in PAGES}
    unknown = {
        file.name: cited - there
        for file in files
        if (cited := set(re.findall(r"(?:\w+/)?[\w-]+\.md\b", file.read_text()))) - there
    }
    assert unknown == {}


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


# --- the laws ---

ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
# Number -> what the third column says of who holds it.
LAWS = {
    int(number): held
    for number, held in re.findall(r"^\| (\d) \| .* \| (.*) \|$", ARCHITECTURE, re.MULTILINE)
}
NOT_BUILT = "**not built yet**"


def cited(file: Path) -> set[int]:
    """The laws that a test file cites, in names, docstrings or comments."""
    return {int(number) for number in re.findall(r"(?i)law[ _](\d)(?!\d)", file.read_text())}


def test_the_laws_are_numbered() -> None:
    assert list(LAWS) == list(range(1, 9))


@pytest.mark.parametrize("law", LAWS)
def test_a_law_is_held_by_tests_that_cite_it(law: int) -> None:
    named = re.findall(r"`(tests/\w+\.py)`", LAWS[law])
    assert bool(named) != LAWS[law].startswith(NOT_BUILT)
    assert [name for name in named if law not in cited(ROOT / name)] == []


def test_tests_cite_laws_that_stand_and_are_built() -> None:
    built = {law for law, held in LAWS.items() if not held.startswith(NOT_BUILT)}
    files = set((ROOT / "tests").rglob("*.py")) - {Path(__file__)}
    assert {file.name: cited(file) - built for file in files if cited(file) - built} == {}


# --- what can be chosen by name ---


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("selection.md", [*POLICIES, *SCORES, *DESIGNS, *WEIGHTINGS]),
        ("models.md", [*SETTINGS]),
    ],
    ids=["selection", "models"],
)
def test_what_can_be_chosen_is_on_its_page(page: str, names: list[str]) -> None:
    text = (ROOT / "docs" / page).read_text()
    assert [name for name in names if f"`{name}`" not in text] == []


@pytest.mark.parametrize("name", SOURCES)
def test_a_pipeline_file_or_a_page_shows_each_source(name: str) -> None:
    files = [*PAGES, *(ROOT / "pipelines").glob("*.toml")]
    assert any(f'source = "{name}"' in file.read_text() for file in files)


@pytest.mark.parametrize("name", tenforward.COMMANDS)
def test_a_page_shows_each_command(name: str) -> None:
    lines = [line for page in PAGES for line in code(page)]
    assert any(re.match(rf"(?:\.venv/bin/)?tenforward {name}( |$)", line) for line in lines)
