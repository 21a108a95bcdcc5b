"""Observations of several keys as an environment gives them: dictionaries, of one state or a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from rlstitch.envs.family import family_of, with_sensor
from rlstitch.envs.frames import Observer
from rlstitch.envs.observation import Observations, box_of
from rlstitch.envs.parts import Part, join_parts, leaves_of, read_parts, shape_of
from rlstitch.envs.reading import Read
from rlstitch.envs.world import World, require_defaults
from rlstitch.errors import InvalidInputError
from rlstitch.storage.text import printable

_LONGEST = 10_000
"""Characters of a text whose space the family does not tell."""


def read_keys(world: World, observation: Mapping[str, Any]) -> tuple[Observations, bool]:
    """Return what agents of a world observe of what its environment gives, and whether that was a single observation.

    Images are seen under the world's crop, look and size. Keys that the world does not observe may be there.

    Args:
        world: of several keys, or of one key of a Dict space.
        observation: by key, nested as the space is; of a batch, each value has one axis more, and texts are a sequence.

    Returns:
        `(N, ...)`, as `make_vec` gives them.

    Raises:
        InvalidInputError: where the world has no keys or stacks its observations, for keys that are missing or unknown,
            and for values that are not of the environment's space.
    """
    world, family, name = with_sensor(world), family_of(world), world.environment
    values = {".".join(path): value for path, value in leaves_of(observation)}
    seen = family.layout(world)
    keys = [part.key for part in seen if part.key]
    if not keys:
        kind = "image" if world.sensor == "pixels" else "vector"
        raise InvalidInputError(f"observation: expected one {kind}, found a dictionary of {sorted(values)}")
    require_defaults(world, ("frame_stack",), "observations that are given by key are not stacked")
    space = family.own_observations(world)
    known = set(values) if space is None else {".".join(path) for path, _ in leaves_of(space)}
    for key in (*keys, *values):
        if key not in values or key not in known:
            expected, problem = ", ".join(keys), "is missing" if key in keys else "is unknown"
            raise InvalidInputError(f"observation: {name} observes {expected}; {printable(key, limit=80)!r} {problem}")
    look = (lambda images: images) if space is None else family.pixel_look(world)
    if space is None:
        texts = {part.key: spaces.Text(_LONGEST) for part in seen if part.kind == "text"}
        space = spaces.Dict({part.key: texts.get(part.key) or box_of(part.shape) for part in seen})
    inner, (layout, readings) = dict(leaves_of(space)), read_parts(space, name, keys)
    parts, batches = {}, set()
    for part, (path, read) in zip(layout, readings, strict=True):
        parts[part.key], single = _read(part, inner[path], read, values[part.key])
        batches.add((len(parts[part.key]), single))
    if len(batches) > 1:
        counts = ", ".join(f"{len(array)} of {key}" for key, array in parts.items())
        raise InvalidInputError(f"observation: expected one observation, or a batch by every key, found {counts}")
    ((count, single),) = batches
    observer = Observer(world, look, shape_of(layout), count, layout)
    observer.start(np.arange(count), join_parts(parts) if len(parts) > 1 else parts[layout[0].key])
    return observer.observations, single


def _read(part: Part, space: gymnasium.Space[Any], read: Read, value: Any) -> tuple[npt.NDArray[Any], bool]:
    """Return what a key holds in each observation, `(N, ...)`, and whether that was one, not in a batch."""
    try:
        single = isinstance(value, str) if part.kind == "text" else np.shape(value) == space.shape
        rows = [value] if single else list(value)
        counted = isinstance(space, spaces.Box) and space.dtype == np.uint8  # of others an array of float64 will do
        if counted or isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
            fits = all(space.contains(np.asarray(row)) for row in rows)
        else:
            fits = all(part.kind == "text" or np.shape(row) == space.shape for row in rows)
        if rows and fits:
            return np.stack([read(row) for row in rows]), single
    except (AttributeError, TypeError, ValueError):
        pass
    shown = value if isinstance(value, str | int | float) else f"{type(value).__name__} {getattr(value, 'shape', '')}"
    raise InvalidInputError(
        f"observation: {part.key}: expected one of {printable(space, limit=120)} or a batch, found "
        f"{printable(shown, limit=80).strip()}"
    )
