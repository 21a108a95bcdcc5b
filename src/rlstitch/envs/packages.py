"""Packages that register environments: those that are installed, and well-known ones that may be missing."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import warnings
from collections.abc import Collection
from importlib.metadata import entry_points

from rlstitch.errors import UnknownNameError

GROUP = "gymnasium.envs"
_ROOTS = ("__root__", "__internal__")
_KNOWN = {
    ("ALE",): ("ale_py", "gymnasium[atari]"),
    ("LunarLander", "BipedalWalker", "CarRacing"): ("Box2D", "gymnasium[box2d]"),
    ("Ant-", "HalfCheetah-", "Hopper-", "Humanoid", "InvertedDoublePendulum-", "InvertedPendulum-", "Pusher-",
     "Reacher-", "Swimmer-", "Walker2d-"): ("mujoco", "gymnasium[mujoco]"),
    ("phys2d/", "tabular/"): ("jax", "gymnasium[jax]"),
    ("MiniWorld-",): ("miniworld", "miniworld"),
    ("Fetch", "HandManipulate", "HandReach", "AntMaze_", "PointMaze_", "AdroitHand", "FrankaKitchen"):
        ("gymnasium_robotics", "gymnasium-robotics"),
    ("dm_control/",): ("shimmy", "shimmy[dm-control]"),
    ("MiniHack-",): ("minihack", "minihack"),
    ("NetHack",): ("nle", "nle"),
    ("Meta-World/",): ("metaworld", "metaworld"),
    ("Panda",): ("panda_gym", "panda-gym"),
    ("PyFlyt/",): ("PyFlyt", "PyFlyt"),
    ("Vizdoom",): ("vizdoom", "vizdoom"),
    ("highway-", "roundabout-", "parking-", "racetrack-", "intersection-"): ("highway_env", "highway-env"),
    ("FlappyBird-",): ("flappy_bird_gymnasium", "flappy-bird-gymnasium"),
    ("tetris_gymnasium/",): ("tetris_gymnasium", "tetris-gymnasium"),
    ("Safety",): ("safety_gymnasium", "safety-gymnasium"),
}  # fmt: skip
"""Beginnings of ids: the module that registers or needs them, and what pip installs."""


LIVE_PREFIX = "live/"
"""How ids of environments begin that are objects of one process, see `rlstitch.envs.live`."""


@functools.cache
def load_plugins() -> None:
    """Let installed packages register their environments by the entry point group `gymnasium.envs`, once.

    Gymnasium does so no longer since version 1.0. The name of an entry point is the namespace of its environments;
    `__root__` has none. One that cannot be loaded is left out with a warning.
    """
    import gymnasium
    from gymnasium.envs.registration import namespace

    for entry in entry_points(group=GROUP):
        place = contextlib.nullcontext() if entry.name in _ROOTS else namespace(entry.name)
        problem = None
        with place:  # Gymnasium would keep the namespace after an error
            try:
                entry.load()()
            except (AttributeError, ImportError, TypeError, ValueError, gymnasium.error.Error) as error:
                problem = error
        if problem is not None:
            warnings.warn(f"entry point {GROUP} {entry.name}: cannot load {entry.value}: {problem}", stacklevel=2)


def package_of(environment: str) -> str:
    """Return what to install or to import for a well-known environment, to end a message with; else empty."""
    for beginnings, (module, package) in _KNOWN.items():
        if environment.startswith(beginnings):
            if importlib.util.find_spec(module) is None:
                return f'; it needs the package {module}: pip install "{package}"'
            return f"; its package is installed: name it with --gym-packages {module} (in Python: import {module})"
    return ""


def unknown_environment(environment: str, registered: Collection[str]) -> UnknownNameError:
    """Return the error for an environment that is not registered: what is missing, or the nearest ids."""
    name_space, slash, _ = environment.rpartition("/")
    siblings = [name for name in registered if name.startswith(f"{name_space}/")] if slash else []
    hint = "" if siblings else package_of(environment).removeprefix("; ")
    if environment.startswith(LIVE_PREFIX):
        hint = (
            "it is an object of another process: name an environment that can be made here by --env (in Python: env=)"
        )
    elif slash and not siblings and not hint:
        hint = (
            f"no imported package registers environments of {name_space!r}: install it, and name its module "
            f"(--gym-packages, or MODULE:{environment})"
        )
    return UnknownNameError("environment", environment, siblings or registered, hint=hint)
