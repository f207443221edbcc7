"""Opens an exported program without letting it run anything but tensor arithmetic.

`torch.export.load` (2.13) unpickles freely when an archive asks for it: weights and constants
marked `use_pickle`, custom and opaque objects, the sample inputs when their safe load fails; and
it resolves operators by name among everything `torch` imports. So an archive is checked first:
only the entries that our own export writes, no pickled payload, only ATen operators.
"""

import io
import json
import re
import zipfile
from pathlib import Path
from pickle import UnpicklingError  # the error alone
from typing import Any

import torch

from schemas.errors import ConfigurationError

_ENTRY = re.compile(
    r"[^/]+/(models/model\.json|data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)|data/sample_inputs/model\.pt"
    r"|archive_format|archive_version|byteorder|version|\.data/(version|serialization_id))"
)
_OPERATOR = re.compile(
    r"torch\.ops\.aten\.\w+\.\w+|_operator\.(add|sub|mul|floordiv|getitem|ge|le|eq)"
)


def load_program(path: Path) -> torch.nn.Module:
    """The module of an exported program, on the CPU. ConfigurationError when it is refused."""
    content = path.read_bytes()
    reason = suspect(content)
    if reason is not None:
        raise ConfigurationError(
            f"{path}: refused, {reason}. Remedy: train the model again with this release, and find"
            " out who wrote the file."
        )
    try:
        return unpacked(content)
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigurationError(
            f"{path}: torch {torch.__version__} cannot load it: {error}. Remedy: score with the"
            " version of torch that trained the model, or train it again with this one."
        ) from error


def unpacked(content: bytes) -> torch.nn.Module:
    """The module of a program that is not `suspect`."""
    return torch.export.load(io.BytesIO(content)).module()


def suspect(content: bytes) -> str | None:
    """Why the archive must not be loaded, or None."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
    except zipfile.BadZipFile:
        return "it is not an archive"
    strange = [name for name in entries if not _ENTRY.fullmatch(name)]
    if strange:
        return f"it has an entry {strange[0]!r} that no export of ours writes"
    for name, data in entries.items():
        if name.endswith("_config.json") and _asks_for_pickle(data):
            return f"{name!r} asks for pickle"
        if name.endswith("models/model.json"):
            for target in _targets(data):
                if not _OPERATOR.fullmatch(target):
                    return f"it calls {target!r}, which is not a tensor operator"
        if name.endswith("sample_inputs/model.pt") and not _plain_tensors(data):
            return f"{name!r} holds more than tensors"
    return None


def _asks_for_pickle(config: bytes) -> bool:
    return any(payload["use_pickle"] for payload in json.loads(config)["config"].values())


def _targets(graph: bytes) -> list[str]:
    """What every node of the graph, and of the graphs inside it, calls."""
    targets: list[str] = []

    def collect(entry: dict[str, Any]) -> dict[str, Any]:
        if isinstance(entry.get("target"), str):
            targets.append(entry["target"])
        return entry

    json.loads(graph, object_hook=collect)
    return targets


def _plain_tensors(data: bytes) -> bool:
    try:
        torch.load(io.BytesIO(data), weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError):
        return False
    return True
