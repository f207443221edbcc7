"""Files that `setup/study_data.sh` fetched, held against its checksums before they are read."""

import hashlib
from pathlib import Path

from schemas.errors import ConfigurationError

CHECKSUMS = Path(__file__).parents[3] / "setup" / "study_data.sha256"


def fetched(folder: Path, name: str) -> bytes:
    """The content of a file of the data folder; ConfigurationError where it is missing or another
    one."""
    path = folder / name
    if not path.exists():
        raise ConfigurationError(
            f"{path}: not found. Remedy: run `setup/study_data.sh {folder}` in the repository."
        )
    lines = CHECKSUMS.read_text(encoding="utf-8").splitlines()
    wanted = {name: checksum for checksum, name in map(str.split, lines)}[name]
    content = path.read_bytes()
    checksum = hashlib.sha256(content).hexdigest()
    if checksum != wanted:
        raise ConfigurationError(
            f"{path}: has SHA-256 {checksum}, not {wanted}. Remedy: remove it, and run"
            f" `setup/study_data.sh {folder}` in the repository."
        )
    return content
