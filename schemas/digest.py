"""The SHA-256 of a stored file."""

import hashlib
from collections.abc import Callable

from schemas.places import filesystem

_AT_ONCE = 1 << 20  # bytes


def sha256_of(place: str, look: Callable[[bytes], None] | None = None) -> str:
    """SHA-256 of a file, in hexadecimal; `look` is shown its bytes, a mebibyte at a time."""
    state = hashlib.sha256()
    store, path = filesystem(place)
    with store.open_input_stream(path) as file:
        while part := file.read(_AT_ONCE):
            state.update(part)
            if look is not None:
                look(part)
    return state.hexdigest()
