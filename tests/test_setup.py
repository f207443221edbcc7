"""What set-up refuses before it installs gigabytes."""

import shutil
import subprocess
from pathlib import Path


def test_a_folder_with_a_blank_in_its_path_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "my project"
    shutil.copytree("setup", root / "setup")
    done = subprocess.run(
        ["bash", str(root / "setup/all.sh")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"{root}: Spark's own scripts take no path with a blank" in done.stderr
    assert "Move the checkout" in done.stderr
    assert not (root / ".venv").exists()
