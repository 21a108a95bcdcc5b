"""Observations of several keys (Gymnasium's Dict spaces), which are one vector to all that follows.

A key is named by its path, `robot.camera`. What a key holds is an image, a vector or a
text; images are in the vector as their bytes, row by row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from rlstitch.envs.looks.pixels import Images
from rlstitch.envs.reading import Kind, Read, read_space
from rlstitch.errors import InvalidInputError, require_known
from rlstitch.storage import limits


@dataclass(frozen=True)
class Part:
    """What one key of an observation holds."""

    key: str
    kind: Kind
    shape: tuple[int, ...]
    """`(H, W, C)` of an image, `(D,)` of a vector or a text."""


Layout: TypeAlias = tuple[Part, ...]
"""The parts of a vector, in order."""
Path: TypeAlias = tuple[str, ...]
Reading: TypeAlias = tuple[Path, Read]
"""The path of a key, and what makes an array of what is under it."""


def read_parts(space: spaces.Space[Any], name: str, keys: Sequence[str] = ()) -> tuple[Layout, list[Reading]]:
    """Return what a space's observations hold, and how each part is read.

    Args:
        space: of an environment's observations; one that is no Dict has one part, without a name.
        name: of the environment, in messages.
        keys: which parts, in this order; empty: all of them, in the order of the space.

    Raises:
        InvalidInputError: where the space is not supported, or is too large.
        UnknownNameError: for a key that it has not.
    """
    leaves = {".".join(path): (path, inner) for path, inner in leaves_of(space)}
    if keys and "" in leaves:
        raise InvalidInputError(f"keys: expected none for {name}, which observes {space}; found {', '.join(keys)}")
    for key in keys:
        require_known(f"key of {name}", key, leaves)
    layout: list[Part] = []
    readings: list[Reading] = []
    for key in keys or leaves:
        path, inner = leaves[key]
        kind, shape, read = read_space(inner, f"{name}: {key}" if key else name)
        layout.append(Part(key, kind, shape))
        readings.append((path, read))
    if not 0 < width_of(layout) <= limits.OBSERVATION_VALUES:
        raise InvalidInputError(
            f"{name}: expected observations of 1 to {limits.OBSERVATION_VALUES:,} values, found {width_of(layout):,}"
        )
    return tuple(layout), readings


def leaves_of(tree: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield what a Dict space, or a dictionary as it contains, holds under each path; of anything else itself."""
    if isinstance(tree, Mapping):  # a Dict space is one
        for key, inner in tree.items():
            yield from leaves_of(inner, (*path, str(key)))
    else:
        yield path, tree


def read_observation(readings: Sequence[Reading], observation: Any) -> npt.NDArray[Any]:
    """Return an observation as one array: its only part as that is read, or several as a float32 vector."""
    arrays = []
    for path, read in readings:
        value = observation
        for key in path:
            value = value[key]
        arrays.append(read(value))
    return arrays[0] if len(arrays) == 1 else np.concatenate([array.ravel() for array in arrays], dtype=np.float32)


def width_of(layout: Sequence[Part]) -> int:
    """Return how many numbers the parts hold together."""
    return sum(math.prod(part.shape) for part in layout)


def shape_of(layout: Sequence[Part]) -> tuple[int, ...]:
    """Return the shape of an observation: that of its only part, or of the vector of several."""
    return layout[0].shape if len(layout) == 1 else (width_of(layout),)


def split_parts(vectors: npt.NDArray[Any], layout: Sequence[Part]) -> dict[str, npt.NDArray[Any]]:
    """Return the parts of vectors `(N, D)` by key: images uint8 `(N, H, W, C)`, all others float32 `(N, D')`."""
    ends = np.cumsum([math.prod(part.shape) for part in layout])
    flat = zip(layout, np.split(vectors, ends[:-1], axis=1), strict=True)
    return {
        part.key: (piece.astype(np.uint8) if part.kind == "image" else piece).reshape(-1, *part.shape)
        for part, piece in flat
    }


def join_parts(parts: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
    """Return vectors `(N, D)` of parts `(N, ...)`: the inverse of `split_parts`."""
    return np.concatenate([part.reshape(len(part), -1) for part in parts.values()], axis=1, dtype=np.float32)


def see_images(vectors: npt.NDArray[Any], layout: Sequence[Part], see: Callable[[Images], Images]) -> npt.NDArray[Any]:
    """Return vectors `(N, D)` with a function of images applied to each part that is one."""
    parts = split_parts(vectors, layout)
    return join_parts({part.key: see(parts[part.key]) if part.kind == "image" else parts[part.key] for part in layout})
