"""The spaces that a Stable-Baselines3 file prints, compared with an environment's.

What a file does not print is not compared here: the shapes of its weights are.
"""

from __future__ import annotations

import functools
import math
import re
from typing import Any

from rlstitch.agents.sb3.archive import ModelFile
from rlstitch.agents.specs import AnyActions, BoxActions, DiscreteActions, MultiBinaryActions
from rlstitch.envs.observation import Shape, is_image
from rlstitch.errors import IncompatibleError
from rlstitch.storage.text import printable

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|inf)")
_MOST_FRAMES = 32  # of `World.frame_stack`
_KINDS = {"discrete": "Discrete", "box": "Box", "multi_discrete": "MultiDiscrete", "multi_binary": "MultiBinary"}
_LARGEST = 2**32  # of a printed axis
_PRECISION = 1e-4  # NumPy prints eight digits
_VECTORS = ("", "Box", "Discrete", "MultiDiscrete", "MultiBinary")
"""Kinds of spaces whose observations are vectors; discrete ones are one-hot codes, there as here."""


def check_observations(model: ModelFile, shape: Shape) -> None:
    """Compare the printed observation space with an environment's images `(H, W, C)`, uint8 in 0..255, or vectors.

    Raises:
        IncompatibleError: where they differ.
    """
    space = _printed(model, "observation_space")
    if is_image(shape):
        _check_images(model, space, shape)
    else:
        _check_vectors(model, space, shape[0])


def _check_vectors(model: ModelFile, space: dict[str, Any], width: int) -> None:
    kind, printed = _kind(space), _shape(space)
    if kind not in _VECTORS or len(printed or ()) > 2:
        shape = f" of {len(printed)} axes" if printed else ""
        raise _differ(model, f"observations: the environment gives vectors of {width} numbers", f"a {kind}{shape}")
    if kind == "Box" and printed and math.prod(printed) != width:
        raise _differ(model, f"observations: the environment gives vectors of {width} numbers", f"{printed}")


def _check_images(model: ModelFile, space: dict[str, Any], image_shape: Shape) -> None:
    if (kind := _kind(space)) not in ("", "Box"):
        raise _differ(model, "observations: the environment gives images, a Box", f"a {kind}")
    height, width, channels = image_shape
    images = f"observations: the environment gives images of {height} x {width} x {channels}"
    shape = space.get("_shape", space.get("shape"))
    if isinstance(shape, list) and shape != [channels, height, width]:
        raise _differ(model, images, f"{printable(shape, limit=100)} (channels first)")
    if height == width == channels:  # Stable-Baselines3 leaves such images as they are
        raise _differ(model, images, "images whose channels may be the first or the last axis")
    dtype = printable(space.get("dtype", "uint8"), limit=100)
    bounds = {name: _numbers(space, name) for name in ("low", "high")}
    if dtype != "uint8" or any(bounds["low"]) or any(number != 255 for number in bounds["high"]):
        limits = " to ".join(
            f"{number:g}" for number in (min(bounds["low"], default=0), max(bounds["high"], default=0))
        )
        raise _differ(model, "observations: the environment gives uint8 from 0 to 255", f"{dtype} from {limits}")


def sees_bytes(model: ModelFile) -> bool:
    """Return whether the printed observation space is one of bytes."""
    return bool(_printed(model, "observation_space").get("dtype") == "uint8")


def stacked_frames(model: ModelFile, shape: Shape) -> int:
    """Return how many of an environment's observations one printed observation holds; 1 where none is told."""
    printed = _shape(_printed(model, "observation_space")) or []
    if is_image(shape) and (len(printed) != 3 or tuple(printed[1:]) != shape[:2]):
        return 1
    count, rest = divmod(printed[0] if is_image(shape) else math.prod(printed), shape[-1])
    return count if rest == 0 and 1 <= count <= _MOST_FRAMES else 1


def _shape(space: dict[str, Any]) -> list[int] | None:
    """The printed shape of a Box, where it is whole numbers."""
    printed = space.get("_shape", space.get("shape"))
    whole = isinstance(printed, list) and all(type(size) is int and 0 < size < _LARGEST for size in printed)
    return printed if whole else None


def check_actions(model: ModelFile, actions: AnyActions) -> None:
    """Compare the printed action space with an environment's.

    Raises:
        IncompatibleError: where they differ.
    """
    space = _printed(model, "action_space")
    own: dict[str, list[float]] = {}
    own_kind = _KINDS[actions.kind]
    if (kind := _kind(space)) not in ("", own_kind):
        raise _differ(model, f"actions: the environment's are a {own_kind}", f"a {kind}")
    if isinstance(actions, DiscreteActions):
        own = {"start": [0]}  # Stable-Baselines3 counts from 0, whatever the environment does
    elif isinstance(actions, MultiBinaryActions):
        own = {"n": [actions.n]}
    elif not isinstance(actions, BoxActions):
        own = {"nvec": list(actions.nvec)}
    else:
        shape, own_shape = space.get("_shape", space.get("shape")), [*(actions.shape or (actions.width,))]
        if isinstance(shape, list) and shape != own_shape:
            raise _differ(model, f"actions: the environment's have the shape {own_shape}", printable(shape, limit=100))
        own = {"low": list(actions.low), "high": list(actions.high)}
    for name, values in own.items():
        stated = _numbers(space, name)
        if "..." in str(space.get(name)) or not stated:
            continue
        close = functools.partial(math.isclose, rel_tol=_PRECISION, abs_tol=_PRECISION)
        if len(stated) != len(values) or not all(map(close, stated, values)):
            raise _differ(model, f"actions.{name}: the environment's is {values}", f"{stated[:100]}")


def _printed(model: ModelFile, name: str) -> dict[str, Any]:
    space = model.data.get(name)
    return space if isinstance(space, dict) else {}


def _kind(space: dict[str, Any]) -> str:
    return printable(space.get(":type:", ""), limit=100).removesuffix("'>").rpartition(".")[2]


def _numbers(space: dict[str, Any], name: str) -> list[float]:
    """The numbers that NumPy printed, `[-1.  0.5]`; it leaves out the middle of long arrays."""
    return [float(number) for number in _NUMBER.findall(str(space.get(name, ""))[:100_000])]


def _differ(model: ModelFile, environment: str, trained: str) -> IncompatibleError:
    return IncompatibleError(f"{model.path}: {environment}, the model was trained on {trained}")
