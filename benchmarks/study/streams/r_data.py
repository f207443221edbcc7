"""A data frame out of a file that R's `save` wrote, read without R.

Of the format ("R Internals", 1.8, Serialization Formats) what such a file needs: version 2, XDR,
xz; numbers, whole numbers, factors and their names. Whatever else a file holds is refused.
"""

import lzma
from collections.abc import Mapping
from enum import IntEnum
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.errors import DataQualityError

HEADER = b"RDX2\nX\n"
VERSIONS = 12  # bytes: of the format, of the R that wrote the file, of the oldest that reads it
HAS_ATTRIBUTES, HAS_TAG = 0x200, 0x400  # bits of an item's flags; the lowest eight are its kind


class Kind(IntEnum):
    """What an item is, by R's number for it."""

    SYMBOL = 1
    PAIR = 2
    CHARACTERS = 9
    WHOLE_NUMBERS = 13
    NUMBERS = 14
    STRINGS = 16
    LIST = 19
    NOTHING = 254
    REFERENCE = 255  # to a symbol that stands before


class Vector(NamedTuple):
    """Several values of a kind."""

    values: Any
    attributes: Mapping[str, Any]  # such as names, or a factor's levels; vectors too


def data_frame(content: bytes, name: str) -> dict[str, NDArray[Any]]:
    """The columns (n,) by name of the data frame that was saved under a name: numbers as float64,
    factors as the names of their levels.

    Raises DataQualityError where what is packed has another form, or nothing of that name.
    """
    file = BytesIO(lzma.decompress(content))
    if _read(file, len(HEADER)) != HEADER:
        raise _refused(file, f"it does not begin with {HEADER!r}")
    _read(file, VERSIONS)
    saved = _item(file, [])
    if name not in saved:
        raise _refused(file, f"it holds {', '.join(saved)}, not {name}")
    frame = saved[name]
    names = frame.attributes["names"].values
    return {one: _column(column) for one, column in zip(names, frame.values, strict=True)}


def _column(column: Vector) -> NDArray[Any]:
    """A factor is whole numbers from 1 on, the places of its levels."""
    if "levels" in column.attributes:
        return np.array(column.attributes["levels"].values)[column.values - 1]
    return np.asarray(column.values, np.float64)


def _item(file: BytesIO, symbols: list[str]) -> Any:
    """The next item: a Vector; characters or a symbol as a string; pairs as a dictionary."""
    flags = _whole_number(file)
    match flags & 0xFF:
        case Kind.NOTHING:
            return {}  # where pairs end
        case Kind.REFERENCE:
            return symbols[(flags >> 8) - 1]
        case Kind.SYMBOL:
            symbols.append(_item(file, symbols))
            return symbols[-1]
        case Kind.CHARACTERS:
            return _read(file, _whole_number(file)).decode()
        case Kind.PAIR:
            return _pairs(file, symbols, flags)
        case Kind.WHOLE_NUMBERS | Kind.NUMBERS | Kind.STRINGS | Kind.LIST as kind:
            values = _values(file, symbols, kind)
            return Vector(values, _item(file, symbols) if flags & HAS_ATTRIBUTES else {})
        case kind:
            raise _refused(file, f"an item of R's kind {kind}, which is not read here")


def _pairs(file: BytesIO, symbols: list[str], flags: int) -> dict[str, Any]:
    """What follows the flags of a first pair; by name, as all that is saved and all attributes
    have one."""
    found: dict[str, Any] = {}
    while flags & 0xFF == Kind.PAIR:
        if flags & HAS_ATTRIBUTES or not flags & HAS_TAG:
            raise _refused(file, "a pair without a name")
        name = _item(file, symbols)
        found[name] = _item(file, symbols)
        flags = _whole_number(file)
    if flags != Kind.NOTHING:
        raise _refused(file, "pairs that do not end")
    return found


def _values(file: BytesIO, symbols: list[str], kind: int) -> Any:
    size = _whole_number(file)
    if kind == Kind.WHOLE_NUMBERS:
        return np.frombuffer(_read(file, 4 * size), ">i4")
    if kind == Kind.NUMBERS:
        return np.frombuffer(_read(file, 8 * size), ">f8")
    return [_item(file, symbols) for _ in range(size)]


def _whole_number(file: BytesIO) -> int:
    return int.from_bytes(_read(file, 4), "big", signed=True)


def _read(file: BytesIO, size: int) -> bytes:
    content = file.read(size) if size >= 0 else b""
    if len(content) != size:
        raise _refused(file, f"{size} bytes wanted, {len(content)} there")
    return content


def _refused(file: BytesIO, found: str) -> DataQualityError:
    return DataQualityError(
        f"a file of R, byte {file.tell()}: {found}. Remedy: save a data frame of numbers and"
        " factors by R's save(..., version = 2, compress = 'xz')."
    )
