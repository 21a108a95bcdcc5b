"""What one Gymnasium space holds, an image, a vector or a text, and how an array is made of it."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from rlstitch.errors import InvalidInputError

Kind: TypeAlias = Literal["image", "vector", "text"]
Read: TypeAlias = Callable[[Any], npt.NDArray[Any]]

SUPPORTED = (
    "a uint8 Box (H, W, C) of 0 to 255, other images (H, W, C) or (C, H, W) of 0 to 255 or 0 to 1, a Box of one or two "
    "axes, Discrete, MultiDiscrete, MultiBinary, Text, or a Dict of these"
)
_VECTORS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
WORDS, BITS = 48, 32
"""Words of a text that are observed, and numbers of each."""


def read_space(space: spaces.Space[Any], name: str) -> tuple[Kind, tuple[int, ...], Read]:
    """Return what one observation of a space is, its shape, and what makes an array of it.

    Images become uint8 `(H, W, C)`: those of 0 to 1 times 255, rounded. All others become vectors float32: numbers as
    they are, discrete ones as one-hot codes (`gymnasium.spaces.flatten`), texts as `code_text` says.

    Args:
        space: no Dict; see `rlstitch.envs.parts`.
        name: of the environment, in messages.

    Raises:
        InvalidInputError: where the space is not supported.
    """
    if isinstance(space, spaces.Box) and (len(space.shape) == 3 or (space.dtype == np.uint8 and _is_grey(space))):
        high = float(space.high.max())
        if (space.low != 0).any() or (space.high != high).any() or high not in (1, 255):
            raise InvalidInputError(
                f"{name}: expected images of 0 to 255, found {space.low.min()} to {space.high.max()} "
                "(of 0 to 1 they are taken, too)"
            )
        image = np.empty(space.shape, np.uint8)
        turned = len(space.shape) == 3 and space.shape[0] < min(space.shape[1:])
        read = functools.partial(_read_image, factor=255 / high, channels_first=turned)
        return "image", read(image).shape, read
    if space.dtype is not None and space.dtype.kind == "U":
        return "text", (WORDS * BITS,), code_text
    if not isinstance(space, _VECTORS) or len(space.shape or ()) > 2:
        raise InvalidInputError(f"{name}: expected observations in {SUPPORTED}, found {space}")
    return "vector", (int(np.prod(spaces.flatten_space(space).shape or (0,))),), functools.partial(_flat, space)


def _is_grey(space: spaces.Box) -> bool:
    return len(space.shape) == 2 and int(space.low.max()) == 0 and int(space.high.min()) == 255


def _read_image(image: Any, *, factor: float, channels_first: bool) -> npt.NDArray[np.uint8]:
    """An image uint8 `(H, W, C)` of one `(H, W)`, `(C, H, W)` or `(H, W, C)`."""
    array = np.asarray(image)
    array = array[..., None] if array.ndim == 2 else np.moveaxis(array, 0, -1) if channels_first else array
    return array if array.dtype == np.uint8 and factor == 1 else np.rint(array * factor).astype(np.uint8)


def _flat(space: spaces.Space[Any], observation: Any) -> npt.NDArray[np.float32]:
    return np.asarray(spaces.flatten(space, observation), dtype=np.float32)


@functools.lru_cache(maxsize=4096)
def code_text(text: str) -> npt.NDArray[np.float32]:
    """Return a text as a vector `(WORDS * BITS,)`: of each word bits of its SHA-256 as -1 and 1, then zeros.

    Every word has a code of its own without a list of words; case and punctuation are left out.

    Raises:
        InvalidInputError: for a text of more words.
    """
    words = re.findall(r"\w+", text.lower())
    if len(words) > WORDS:
        raise InvalidInputError(f"text: expected at most {WORDS} words, found {len(words)}: {text[:80]!r}")
    code = np.zeros((WORDS, BITS), dtype=np.float32)
    for row, word in zip(code, words, strict=False):
        digest = np.frombuffer(hashlib.sha256(word.encode()).digest()[: BITS // 8], dtype=np.uint8)
        row[:] = 2.0 * np.unpackbits(digest) - 1.0
    code.flags.writeable = False
    return code.reshape(-1)
