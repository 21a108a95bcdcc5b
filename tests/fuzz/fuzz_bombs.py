"""Small files that hang, crash or fill the memory of a careless reader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Bomb:
    """A file, the reader that it is meant for, and the size that counts as honest (its own where it is 0)."""

    name: str
    make: Callable[[Path], object]
    read: Callable[[Path], object]
    honest_bytes: int = 0


BOMBS: list[Bomb] = []
