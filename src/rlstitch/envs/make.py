"""Making batches of environments."""

from __future__ import annotations

import sys
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv

from rlstitch.envs.family import family_of, with_sensor
from rlstitch.envs.shards import SeenElsewhere, Shards
from rlstitch.envs.vector import WorldVectorEnv
from rlstitch.envs.world import World, require_defaults
from rlstitch.errors import InvalidInputError

Autoreset = Literal["same_step", "disabled"]
_MODES = {"same_step": AutoresetMode.SAME_STEP, "disabled": AutoresetMode.DISABLED}


def make_vec(
    world: World, num_envs: int, *, seed: int | None, autoreset: Autoreset = "same_step", workers: int = 0
) -> WorldVectorEnv:
    """Return environments of a world that observe images uint8 `(N, H, W, C)` or vectors float32 `(N, D)`.

    Actions are whole numbers from 0, `(N,)` or `(N, k)` where an environment takes one or several at once, or float32
    `(N, A)` within its bounds; only the first can have a task that changes what actions mean.

    Args:
        world: what to make.
        num_envs: how many.
        seed: of the first reset without one: environment i gets seed + i.
        autoreset: "same_step" or "disabled".
        workers: how many other processes step and draw equal shares of them; 0 leaves them in this one. What happens
            is the same, but `underlying` holds what agents see.

    Raises:
        UnknownNameError: for an environment that is not registered.
        InvalidInputError: for one without such observations, with actions of another kind, or with a task or look
            that it cannot have, and for parameters out of range.
    """
    if autoreset not in _MODES:
        raise InvalidInputError(f"autoreset: expected one of {', '.join(_MODES)}, found {autoreset!r}")
    if num_envs < 1:
        raise InvalidInputError(f"num_envs: expected at least 1, found {num_envs}")
    if missing := [module for module in world.modules if module not in sys.modules]:
        raise InvalidInputError(
            f"modules: {world.environment} needs {missing[0]!r}, which only a file names; name it with --gym-packages "
            f"{missing[0]} (in Python: import it), or let its package register its environments by the entry point "
            "gymnasium.envs"
        )
    if workers < 0:
        raise InvalidInputError(f"workers: expected at least 0, found {workers}")
    world, family = with_sensor(world), family_of(world)
    if world.sensor not in (sensors := family.sensors_of(world)):
        raise InvalidInputError(f"sensor: {world.environment} has {', '.join(sensors)} only, found {world.sensor!r}")
    require_defaults(world, family.unused, f"{world.environment} has no such option")
    makers = family.makers
    if world.backend not in makers:
        raise InvalidInputError(
            f"backend: {world.backend} has no {world.environment} here; it needs the backend {' or '.join(makers)}"
        )
    mode, maker = _MODES[autoreset], makers[world.backend]
    if workers:
        shards = Shards(lambda size: maker(world, size, None, mode), num_envs, workers)
        seen = SeenElsewhere(shards.shape, num_envs)
        result = WorldVectorEnv(world, num_envs, shards, seen, family.task(world), seed=seed, autoreset_mode=mode)
    else:
        result = maker(world, num_envs, seed, mode)
    result.action_space.seed(seed)
    result.single_action_space.seed(seed)
    return result


def symbolic_views(environment: VectorEnv[Any, Any, Any]) -> npt.NDArray[np.uint8]:
    """Return the current symbolic views uint8 `(N, ...)` of environments whose family has them: free of looks.

    Raises:
        InvalidInputError: where there are none.
    """
    if not hasattr(environment, "symbolic"):
        raise InvalidInputError(f"environment: expected one with symbolic views, found {type(environment).__name__}")
    return environment.symbolic()
