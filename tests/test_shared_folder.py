"""Names and links by which whoever writes to a shared warehouse, or a command line, would reach
beyond it."""

from pathlib import Path

import pytest
import torch

from schemas.errors import ConfigurationError
from schemas.lock import exclusive
from tests.helpers.trainer_tables import small_card, small_pipeline, two_refreshes
from trainer.fitting.checkpoint import Checkpoint, Progress
from trainer.models.model import build_model
from trainer.rollback import rollback
from trainer.train import train_refresh

PIPELINE = small_pipeline()


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    file = tmp_path / "precious"
    file.write_text("of somebody else")
    return file


def test_a_link_in_the_place_of_a_lock_is_refused_and_its_target_stays(
    tmp_path: Path, precious: Path
) -> None:
    lock = tmp_path / ".train-small.lock"
    lock.symlink_to(precious)
    with pytest.raises(ConfigurationError, match=r"a link, .*Remedy: "):
        exclusive(lock, wait=False).__enter__()
    assert precious.read_text() == "of somebody else"


def test_a_lock_keeps_what_its_file_holds(precious: Path) -> None:
    with exclusive(precious, wait=False):
        pass
    assert precious.read_text() == "of somebody else"


def test_a_link_in_the_place_of_a_new_checkpoint_is_not_followed(
    tmp_path: Path, precious: Path
) -> None:
    (tmp_path / "small.new").symlink_to(precious)
    model = build_model(small_card(PIPELINE), seed=1)
    optimizer = torch.optim.SGD(model.parameters())
    Checkpoint(tmp_path / "small.safetensors", {}).save(model, optimizer, Progress())
    assert precious.read_text() == "of somebody else"
    assert (tmp_path / "small.safetensors").is_file()
    assert not (tmp_path / "small.safetensors").is_symlink()


@pytest.mark.parametrize(
    "name", ["../small", "/small", "a/b", "a'b", 'a"b', ".small", "a:b", "a\nb", " ", "a%2Fb"]
)
def test_a_models_name_that_is_a_path_or_ends_a_filter_is_refused(
    tmp_path: Path, name: str
) -> None:
    root = two_refreshes(tmp_path / "warehouse", PIPELINE)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigurationError, match=r"not a name\. Remedy: "):
        train_refresh(PIPELINE, str(root), "first", model_name=name)
    with pytest.raises(ConfigurationError, match=r"not a name\. Remedy: "):
        rollback(name, "small", str(root))
    assert sorted(tmp_path.rglob("*")) == before
