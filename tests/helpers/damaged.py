"""Damaged files: their bytes are flipped, cut, taken out, put in, or overwritten by extremes."""

from __future__ import annotations

import random

_EXTREMES = [b"\0" * 4, b"\xff" * 4, b"\x7f", b"\0\0\0\x80", b"99999999999", b"!!binary x", b"010", b"{", b"\xfe\xff"]


def damaged(content: bytes, seed: int) -> bytes:
    """Return other bytes, the same for the same seed."""
    rng = random.Random(seed)
    result = bytearray(content)
    for _ in range(rng.choice([1, 1, 3])):
        start = rng.randrange(len(result) + 1)
        end = start + rng.choice([1, 2, 4, 64])
        match rng.randrange(5):
            case 0:
                result[start:end] = bytes(byte ^ 1 << rng.randrange(8) for byte in result[start:end])
            case 1:
                del result[start:]
            case 2:
                del result[start:end]
            case 3:
                result[start:start] = rng.randbytes(rng.randrange(1, 9))
            case _:
                extreme = rng.choice(_EXTREMES)
                result[start : start + len(extreme)] = extreme
    return bytes(result)
