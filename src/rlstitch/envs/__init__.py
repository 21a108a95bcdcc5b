"""Worlds: environments, and what varies in them while their meaning stays.

Names are imported from their modules when they are first used: a `World` costs neither Gymnasium nor MiniGrid.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlstitch.envs.cell import cell_world as cell_world
    from rlstitch.envs.cell import translate_actions as translate_actions
    from rlstitch.envs.families.minigrid.tiles import TileAtlas as TileAtlas
    from rlstitch.envs.families.minigrid.tiles import render_views as render_views
    from rlstitch.envs.families.minigrid.vector import MiniGridVectorEnv as MiniGridVectorEnv
    from rlstitch.envs.family import Family as Family
    from rlstitch.envs.family import family_of as family_of
    from rlstitch.envs.looks.look import LOOKS as LOOKS
    from rlstitch.envs.looks.look import VARIATIONS as VARIATIONS
    from rlstitch.envs.looks.look import Variation as Variation
    from rlstitch.envs.looks.look import get_variation as get_variation
    from rlstitch.envs.looks.look import pixel_part as pixel_part
    from rlstitch.envs.looks.tensors import apply_torch as apply_torch
    from rlstitch.envs.looks.wrappers import LookWrapper as LookWrapper
    from rlstitch.envs.looks.wrappers import VectorLookWrapper as VectorLookWrapper
    from rlstitch.envs.make import make_vec as make_vec
    from rlstitch.envs.make import symbolic_views as symbolic_views
    from rlstitch.envs.registry import task_words as task_words
    from rlstitch.envs.replay import Recording as Recording
    from rlstitch.envs.replay import record_actions as record_actions
    from rlstitch.envs.replay import record_episodes as record_episodes
    from rlstitch.envs.replay import replay_episodes as replay_episodes
    from rlstitch.envs.sb3 import StableBaselinesVecEnv as StableBaselinesVecEnv
    from rlstitch.envs.tasks.words import action_map as action_map
    from rlstitch.envs.tasks.words import get_task as get_task
    from rlstitch.envs.world import World as World

_MODULES = {
    "looks.tensors": ("apply_torch",),
    "make": ("make_vec", "symbolic_views"),
    "families.minigrid.vector": ("MiniGridVectorEnv",),
    "registry": ("task_words",),
    "replay": ("Recording", "record_actions", "record_episodes", "replay_episodes"),
    "sb3": ("StableBaselinesVecEnv",),
    "tasks.words": ("action_map", "get_task"),
    "families.minigrid.tiles": ("TileAtlas", "render_views"),
    "looks.look": ("LOOKS", "VARIATIONS", "Variation", "get_variation", "pixel_part"),
    "world": ("World",),
    "cell": ("cell_world", "translate_actions"),
    "family": ("Family", "family_of"),
    "looks.wrappers": ("LookWrapper", "VectorLookWrapper"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"rlstitch.envs.{_HOME[name]}"), name)
