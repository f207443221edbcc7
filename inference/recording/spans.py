"""The bytes of a journal's file: frames, and what of them was damaged.

A frame is MARK, the length of its payload, the payload's CRC-32 and the CRC-32 of these sixteen
bytes' first twelve (uint32, little-endian), then the payload. The mark lets a reader find the next
whole frame behind a damaged one, the second checksum keeps a damaged length from hiding it.
"""

import struct
import zlib
from typing import NamedTuple

MARK = b"\xf0tfw"
_HEAD = struct.Struct("<4sIII")
_EARLIER_HEAD = struct.Struct("<II")  # length, CRC-32: of files that an earlier release left


class Damage(NamedTuple):
    """Bytes that are not what was written, and where they began in their file."""

    first: int
    content: bytes


class Spans(NamedTuple):
    """What a file holds."""

    payloads: list[bytes]
    damages: list[Damage]
    torn: int  # bytes at the end of a frame whose writing was cut short: never acknowledged


class _Frame(NamedTuple):
    payload: bytes
    end: int


def framed(payload: bytes) -> bytes:
    """A payload as a frame."""
    start = struct.pack("<4sII", MARK, len(payload), zlib.crc32(payload))
    return start + struct.pack("<I", zlib.crc32(start)) + payload


def spans_of(content: bytes) -> Spans:
    """Every whole frame of a file, in order; between them, what was damaged.

    At the end, zeros (a file that grew, its bytes lost with the power) and a frame that is whole up
    to where the file ends are torn: neither was acknowledged before it reached the disk.
    """
    if MARK not in content and not MARK.startswith(content[: len(MARK)]):
        return _earlier_spans(content)
    payloads: list[bytes] = []
    damages: list[Damage] = []
    at = 0
    while at < len(content):
        frame = _frame_at(content, at)
        if frame is not None:
            payloads.append(frame.payload)
            at = frame.end
            continue
        following = _next_whole(content, at + 1)
        if following is None:
            if _is_torn(content, at):
                return Spans(payloads, damages, len(content) - at)
            following = len(content)
        damages.append(Damage(at, content[at:following]))
        at = following
    return Spans(payloads, damages, 0)


def _frame_at(content: bytes, at: int) -> _Frame | None:
    """The whole frame that begins here."""
    length = _length_at(content, at)
    if length is None:
        return None
    begin, end = at + _HEAD.size, at + _HEAD.size + length
    payload = content[begin:end]
    crc = _HEAD.unpack_from(content, at)[2]
    return _Frame(payload, end) if len(payload) == length and zlib.crc32(payload) == crc else None


def _length_at(content: bytes, at: int) -> int | None:
    """The payload's length, where an undamaged head of a frame begins."""
    if at + _HEAD.size > len(content):
        return None
    mark, length, _, crc = _HEAD.unpack_from(content, at)
    whole = mark == MARK and zlib.crc32(content[at : at + _HEAD.size - 4]) == crc
    return int(length) if whole else None


def _next_whole(content: bytes, at: int) -> int | None:
    """Where the next whole frame begins."""
    while (at := content.find(MARK, at)) >= 0:
        if _frame_at(content, at) is not None:
            return at
        at += 1
    return None


def _is_torn(content: bytes, at: int) -> bool:
    """Whether the file ends within a frame that was being written, or in zeros."""
    rest = content[at:]
    if not rest.strip(b"\0"):
        return True
    if len(rest) < _HEAD.size:
        return rest.startswith(MARK[: len(rest)])
    length = _length_at(content, at)
    if length is None:
        return False
    return at + _HEAD.size + length > len(content) or not rest[_HEAD.size :].strip(b"\0")


def _earlier_spans(content: bytes) -> Spans:
    """The same of an earlier release's file, where a damaged length hides what is behind it."""
    payloads, at = [], 0
    while at + _EARLIER_HEAD.size <= len(content):
        length, crc = _EARLIER_HEAD.unpack_from(content, at)
        begin, end = at + _EARLIER_HEAD.size, at + _EARLIER_HEAD.size + length
        if not length or end > len(content) or zlib.crc32(content[begin:end]) != crc:
            break
        payloads.append(content[begin:end])
        at = end
    rest = content[at:]
    damaged = [Damage(at, rest)] if rest.strip(b"\0") else []
    return Spans(payloads, damaged, 0 if damaged else len(rest))
