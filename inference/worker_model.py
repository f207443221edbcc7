"""The model in a Spark worker: unpacked and loaded once a process, however many tasks it runs."""

import hashlib
import tempfile
from pathlib import Path

from inference.scorer import Scorer, load_scorer

_loaded: dict[str, Scorer] = {}


def scorer_of(bundle: dict[str, bytes]) -> Scorer:
    """The scorer of a bundle's files; the newest one is kept."""
    state = hashlib.sha256()
    for name in sorted(bundle):
        state.update(name.encode())
        state.update(bundle[name])
    key = state.hexdigest()
    if key not in _loaded:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in bundle.items():
                (Path(folder) / name).write_bytes(content)
            scorer = load_scorer(folder)
        _loaded.clear()
        _loaded[key] = scorer
    return _loaded[key]
