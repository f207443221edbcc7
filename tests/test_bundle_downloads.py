"""Bundles of a remote store are copied to this machine, and no copy outlives its process."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from inference.registered import alias_version, version_bearing
from schemas.all_traffic import AllTraffic, keep, kept
from schemas.errors import ConfigurationError
from schemas.registry import mlflow_client
from tests.helpers.trainer_tables import small_pipeline
from tests.helpers.two_versions import registry_of, two_bundles


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_bundles(tmp_path_factory.mktemp("bundles"), small_pipeline())


@pytest.fixture
def root(bundles: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse whose version 1 serves."""
    return registry_of(bundles, tmp_path / "warehouse", tmp_path_factory.getbasetemp())


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go; every bundle is a copy, as of a remote store."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr("schemas.registry._is_local", lambda _: False)
    return tmp_path / "temporary"


LOOKING = """
import os, sys
from schemas import registry
registry._is_local = lambda _: False
from inference.registered import find_champion, find_version
found = [find_champion("small", sys.argv[1]), find_version("small", "2", sys.argv[1])]
child = os.fork()
if child == 0:
    sys.exit()  # with all that is done at an end
assert os.waitpid(child, 0)[1] == 0
assert all((one.folder / "model.json").exists() for one in found)
assert len(os.listdir(os.environ["TMPDIR"])) == 2
"""


def test_what_was_downloaded_is_there_until_the_process_ends_and_no_longer(
    root: Path, temporary: Path
) -> None:
    here = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOOKING, str(root)],
        capture_output=True,
        text=True,
        cwd=here,
        env=os.environ | {"PYTHONPATH": str(here), "TMPDIR": str(temporary)},
    )
    assert done.returncode == 0, done.stderr
    assert list(temporary.iterdir()) == []


def test_which_version_serves_is_answered_without_its_bundle(root: Path, temporary: Path) -> None:
    shutil.rmtree(root / "mlartifacts")
    assert version_bearing("small", str(root)) == "1"
    assert alias_version("small", "champion", str(root)) == "1"
    assert version_bearing("other", str(root)) is None
    with pytest.raises(ConfigurationError, match=r"--alias = 'next'.*Remedy"):
        alias_version("small", "next", str(root))


def test_what_was_measured_on_all_traffic_is_read_and_leaves_nothing(
    root: Path, temporary: Path
) -> None:
    client = mlflow_client(str(root))
    place = (root / "mlartifacts").as_uri()
    experiment = client.create_experiment("small", artifact_location=place)
    run = client.create_run(experiment).info.run_id
    ends = (0.5, 0.4, 0.6)
    found = AllTraffic(
        refresh_id="later",
        challenger="2",
        champion="1",
        anchor=None,
        confidence=0.95,
        loss="log",
        rows=10,
        drawn=5,
        measured={"challenger": {"loss": ends}},
        segments=[],
    )
    keep(client, run, found)
    before = set(temporary.iterdir())
    assert kept(client, run, "2", "later") == found
    assert set(temporary.iterdir()) == before
