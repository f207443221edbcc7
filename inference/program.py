"""Opens an exported program without letting it run anything but tensor arithmetic.

`torch.export.load` (2.13) runs what an archive says, in more than one way: it unpickles weights,
constants and sample inputs that ask for it, evaluates symbolic sizes and guards as Python, writes
names into code that it compiles, resolves operators by name among everything `torch` imports, and
of two entries with one name may read another than a checker. So nothing that lies somewhere is
opened: an archive is written anew, in memory, of the entries that our own export writes
(`inference.graph` says what a graph may hold), and that one is opened.
"""

import io
import json
import re
import zipfile
from pathlib import Path
from pickle import UnpicklingError  # the error alone

import torch

from inference.graph import SuspectError, checked_config, checked_graph
from schemas.errors import ConfigurationError

_ROOT = re.compile(r"[A-Za-z0-9_]+/")
_GRAPH = "models/model.json"
_CONFIG = re.compile(r"data/(weights|constants)/model_\1_config\.json")
_INPUTS = "data/sample_inputs/model.pt"
_AS_IT_IS = re.compile(
    r"data/weights/weight_\d+|data/constants/tensor_\d+"
    r"|archive_format|archive_version|byteorder|version|\.data/(version|serialization_id)"
)


def load_program(path: Path) -> torch.nn.Module:
    """The module of an exported program, on the CPU. ConfigurationError when it is refused."""
    try:
        anew = rewritten(path.read_bytes())
    except SuspectError as reason:
        raise ConfigurationError(
            f"{path}: refused, {reason}. Remedy: train the model again with this release, and find"
            " out who wrote the file."
        ) from reason
    try:
        return unpacked(anew)
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, AssertionError) as error:
        raise ConfigurationError(
            f"{path}: refused, torch {torch.__version__} cannot load it: {error}. Remedy: score"
            " with the version of torch that trained the model, or train it again with this one."
        ) from error


def unpacked(content: bytes) -> torch.nn.Module:
    """The module of a program that was `rewritten`."""
    return torch.export.load(io.BytesIO(content)).module()


def rewritten(content: bytes) -> bytes:
    """The archive again, of what was checked and nothing else. Raises SuspectError."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise SuspectError(f"it has two entries {twice!r}")
            entries = {name: archive.read(name) for name in names}
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, OSError) as error:
        raise SuspectError(f"it is not an archive ({error})") from error
    target = io.BytesIO()
    root = _ROOT.match(next(iter(entries), ""))
    with zipfile.ZipFile(target, "w") as anew:
        for name, data in entries.items():
            anew.writestr(zipfile.ZipInfo(name), _checked(name, data, root))
    return target.getvalue()


def _checked(name: str, data: bytes, root: re.Match[str] | None) -> bytes:
    """What of an entry is opened."""
    key = name.removeprefix(root[0]) if root else name
    if root is None or key == name:
        raise SuspectError(f"it has an entry {name!r} that no export of ours writes")
    if _AS_IT_IS.fullmatch(key):
        return data
    if key == _INPUTS:
        return _plain_tensors(name, data)
    if key == _GRAPH or _CONFIG.fullmatch(key):
        try:
            read = json.loads(data)
            found = checked_graph(read) if key == _GRAPH else checked_config(name, read)
        except (ValueError, RecursionError) as error:
            raise SuspectError(f"{name!r} is damaged ({error})") from error
        return json.dumps(found).encode()
    raise SuspectError(f"it has an entry {name!r} that no export of ours writes")


def _plain_tensors(name: str, data: bytes) -> bytes:
    """Sample inputs, written anew: tensors in tuples and dictionaries."""
    try:
        inputs = torch.load(io.BytesIO(data), weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise SuspectError(f"{name!r} holds more than tensors") from error
    anew = io.BytesIO()
    torch.save(inputs, anew)
    return anew.getvalue()
