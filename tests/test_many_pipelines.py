"""Many pipelines: their warehouses under one root, and commands over all of them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable as Snapshot

import tenforward
from reference.plain_tables import create
from schemas.errors import ConfigurationError
from schemas.layout import located, pipeline_files
from schemas.several import worst
from schemas.tables import all_tables
from tests.helpers.pipeline_file import pipeline_file
from tests.helpers.trainer_tables import random_rows, small_pipeline, write_refresh

ROOT = Path(__file__).parents[1]
FILMS, SHOPS = (small_pipeline().model_copy(update={"name": name}) for name in ("films", "shops"))


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two pipelines with their tables, the second without a refresh, and the folder of files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TENFORWARD_WAREHOUSE", str(tmp_path / "lake" / "{pipeline}"))
    (tmp_path / "pipelines").mkdir()
    for pipeline in (FILMS, SHOPS):
        pipeline_file(tmp_path / "pipelines", pipeline)
        for table in all_tables(pipeline).values():
            create(tmp_path / "lake" / pipeline.name, table, owner=pipeline.name)
    write_refresh(tmp_path / "lake" / "films", FILMS, "films-1", random_rows(500))
    return tmp_path


def run(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = tenforward.main(list(words))
    out, _ = capfd.readouterr()
    return code, json.loads(out)


def test_status_tells_of_each_in_its_own_warehouse(
    lake: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, told = run(capfd, "status", "--pipelines", "pipelines")
    assert (code, told["status"]) == (0, "done")
    newest = {name: one["refreshes"] for name, one in told["pipelines"].items()}
    assert newest["films"][0]["refresh_id"] == "films-1"
    assert newest["shops"] == []
    _, alone = run(capfd, "status", "--pipeline", "pipelines/films.toml")
    assert told["pipelines"]["films"] == alone


def test_the_lines_of_the_page_run_as_they_stand(
    lake: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "many-pipelines.md").read_text()
    _, all_at_once = re.findall(r"```bash\n(.*?)```", page, flags=re.DOTALL)
    for line in all_at_once.splitlines():
        code, told = run(capfd, *line.split()[1:])
        assert code == 0, told
        assert list(told["pipelines"]) == ["films", "shops"]


def test_one_that_is_broken_does_not_hide_the_others(
    lake: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A file that is none, a warehouse that lacks a column, one of another pipeline, two files of
    one name."""
    folder = lake / "pipelines"
    (folder / "broken.toml").write_text("name =")
    (folder / "copy.toml").write_text((folder / "films.toml").read_text())
    moved = (folder / "shops.toml").read_text().replace("shops", "moved")
    (folder / "moved.toml").write_text(moved)
    (lake / "lake" / "shops").rename(lake / "lake" / "moved")
    code, told = run(capfd, "check", "--pipelines", "pipelines", "--columns")
    assert (code, told["status"]) == (2, "failed")
    errors = {name: one.get("error", "") for name, one in told["pipelines"].items()}
    assert set(errors) == {"broken.toml", "copy.toml", "films", "moved", "shops"}
    assert told["pipelines"]["films"]["status"] == "done"
    assert "line 1" in errors["broken.toml"]
    assert "--warehouse" not in errors["broken.toml"]
    assert "name = 'films' is also that of films.toml" in errors["copy.toml"]
    assert "holds pipeline 'shops', not 'moved'" in errors["moved"]
    assert "shops" in errors["shops"]
    assert all("Remedy:" in error for error in errors.values() if error)


def test_on_a_terminal_there_is_a_line_for_each(
    lake: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from schemas import several, terminal

    (lake / "pipelines" / "broken.toml").write_text("name =")
    for module in (several, terminal):
        monkeypatch.setattr(module, "looked_on", lambda argv: True)
    monkeypatch.setattr("schemas.command.looked_on", lambda argv: True)
    monkeypatch.setenv("COLUMNS", "200")
    assert tenforward.main(["status", "--pipelines", "pipelines"]) == 2
    out, _ = capfd.readouterr()
    [films] = [line for line in out.splitlines() if line.strip().startswith("films")]
    assert films.split()[:4] == ["films", "done", "-", "films-1"]
    [broken] = [line for line in out.splitlines() if line.strip().startswith("broken.toml")]
    assert "failed" in broken


def test_two_warehouses_in_one_folder_are_refused(lake: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"lake: holds one pipeline, and .* has 2.*Remedy"):
        pipeline_files("pipelines", "lake")
    (lake / "pipelines" / "shops.toml").unlink()
    assert [file.name for file in pipeline_files("pipelines", "lake")] == ["films"]
    with pytest.raises(ConfigurationError, match="no pipeline file"):
        pipeline_files("lake", "lake/{pipeline}")


def test_every_command_takes_the_place_of_its_pipeline(
    lake: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert located("s3://lake/{pipeline}/v2", "films") == "s3://lake/films/v2"
    code, told = run(capfd, "maintain", "--pipeline", "pipelines/films.toml", "--dry-run")
    assert code == 0, told
    assert told["tables"]["sampled"]["version"] == Snapshot("lake/films/sampled").version()
    # A warehouse's place is told only once its pipeline is known.
    for file in (*ROOT.glob("spark_jobs/*.py"), *ROOT.glob("console/*.py")):
        assert "(args.warehouse, pipeline_of(" not in file.read_text()


def test_the_worst_exit_code_is_the_one_that_a_repeat_changes_least() -> None:
    assert worst([0, 5, 3, 0]) == 3
    assert worst([5, 4, 2, 3]) == 2
    assert worst([1, 2]) == 1
    assert worst([0, 0]) == worst([]) == 0
