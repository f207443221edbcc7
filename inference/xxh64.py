"""XXH64 in plain Python: the hash behind a category's code, as Spark's `xxhash64` computes it.

A server has neither Spark nor a compiler; a string takes some microseconds, and the texts that it
has seen are kept. Algorithm: Yann Collet, xxHash specification, XXH64.
"""

SEED = 42  # of Spark's `xxhash64`

_MASK = (1 << 64) - 1
_P1 = 0x9E3779B185EBCA87
_P2 = 0xC2B2AE3D27D4EB4F
_P3 = 0x165667B19E3779F9
_P4 = 0x85EBCA77C2B2AE63
_P5 = 0x27D4EB2F165667C5


def xxh64(data: bytes, seed: int = SEED) -> int:
    """The hash of bytes as a signed number of 64 bits, the form that Spark gives it."""
    whole = len(data) & ~31
    state = _lanes(data[:whole], seed) if whole else (seed + _P5) & _MASK
    state = _rest(data[whole:], (state + len(data)) & _MASK)
    state = (state ^ state >> 33) * _P2 & _MASK
    state = (state ^ state >> 29) * _P3 & _MASK
    state ^= state >> 32
    return state - (1 << 64) if state >> 63 else state


def _lanes(data: bytes, seed: int) -> int:
    """Whole blocks of 32 bytes."""
    lanes = [(seed + _P1 + _P2) & _MASK, (seed + _P2) & _MASK, seed, (seed - _P1) & _MASK]
    for at in range(0, len(data), 8):
        lane = at // 8 % 4
        lanes[lane] = _round(lanes[lane], int.from_bytes(data[at : at + 8], "little"))
    turned = zip(lanes, (1, 7, 12, 18), strict=True)
    state = sum(_turned(lane, bits) for lane, bits in turned) & _MASK
    for lane in lanes:
        state = ((state ^ _round(0, lane)) * _P1 + _P4) & _MASK
    return state


def _rest(data: bytes, state: int) -> int:
    """The last 31 bytes or fewer: by eight, then four, then one."""
    at = 0
    while at + 8 <= len(data):
        word = _round(0, int.from_bytes(data[at : at + 8], "little"))
        state = (_turned(state ^ word, 27) * _P1 + _P4) & _MASK
        at += 8
    if at + 4 <= len(data):
        word = int.from_bytes(data[at : at + 4], "little") * _P1 & _MASK
        state = (_turned(state ^ word, 23) * _P2 + _P3) & _MASK
        at += 4
    for byte in data[at:]:
        state = _turned(state ^ (byte * _P5 & _MASK), 11) * _P1 & _MASK
    return state


def _round(state: int, word: int) -> int:
    return _turned((state + word * _P2) & _MASK, 31) * _P1 & _MASK


def _turned(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) & _MASK
