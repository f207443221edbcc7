"""What R's `save` writes of a data frame, byte by byte, and what is read of it."""

import lzma
import struct

import numpy as np
import pytest

from benchmarks.study.streams.r_data import data_frame
from schemas.errors import DataQualityError

HEADER = b"RDX2\nX\n"  # of format 2, XDR; then three versions
ATTRIBUTES, TAG, END = 0x200, 0x400, 254


def numbers(*values: int) -> bytes:
    return struct.pack(f">{len(values)}i", *values)


def characters(text: str) -> bytes:
    return numbers(9, len(text)) + text.encode()


def strings(*values: str) -> bytes:
    return numbers(16, len(values)) + b"".join(map(characters, values))


def symbol(name: str) -> bytes:
    return numbers(1) + characters(name)


def reference(place: int) -> bytes:
    """To the symbol that stands so many symbols from the start, from 1 on."""
    return numbers(place << 8 | 255)


def pairs(*found: tuple[bytes, bytes]) -> bytes:
    tagged = [numbers(2 | TAG) + name + value for name, value in found]
    return b"".join(tagged) + numbers(END)


REALS = numbers(14, 2) + struct.pack(">2d", 1.5, -2.0)
WHOLE = numbers(13, 2, 3, -4)
LEVELS = (symbol("levels"), strings("low", "high"))
FACTOR = numbers(13 | ATTRIBUTES, 2, 2, 1) + pairs(LEVELS, (symbol("class"), strings("factor")))
NAMES = (symbol("names"), strings("x.box", "count", "kind"))
ROW_NAMES = (symbol("row.names"), numbers(13, 2, -(2**31), -2))
CLASS = (reference(3), strings("data.frame"))  # after Frame and levels
COLUMNS = numbers(19 | ATTRIBUTES, 3) + REALS + WHOLE + FACTOR
FRAME = pairs((symbol("Frame"), COLUMNS + pairs(NAMES, ROW_NAMES, CLASS)))


def file(content: bytes, header: bytes = HEADER) -> bytes:
    return lzma.compress(header + numbers(2, 0x2020A, 0x20300) + content)


def test_numbers_come_as_they_are_and_factors_by_the_names_of_their_levels():
    frame = data_frame(file(FRAME), "Frame")
    assert {name: values.tolist() for name, values in frame.items()} == {
        "x.box": [1.5, -2.0],
        "count": [3.0, -4.0],
        "kind": ["high", "low"],
    }
    assert frame["count"].dtype == np.float64


@pytest.mark.parametrize(
    ("packed", "said"),
    [
        (file(FRAME, b"RDX3\nX\n"), "does not begin with b'RDX2"),
        (file(pairs((symbol("Other"), COLUMNS + pairs(NAMES)))), "it holds Other, not Frame"),
        (file(pairs((symbol("Frame"), numbers(10, 1, 1)))), "kind 10, which is not read here"),
        (file(FRAME[:-30]), "bytes wanted, "),
        (file(numbers(2) + WHOLE), "a pair without a name"),
    ],
    ids=["another format", "another name", "truth values", "cut off", "no name"],
)
def test_anything_else_is_refused(packed, said):
    with pytest.raises(DataQualityError, match=said):
        data_frame(packed, "Frame")
