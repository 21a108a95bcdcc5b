"""The family of MiniGrid and BabyAI: symbolic views, drawn from tiles, seen by the agent or as a whole."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rlstitch.envs.family import Family, Maker
from rlstitch.envs.looks.pixels import Images
from rlstitch.envs.tasks.task import Task, plain_word
from rlstitch.envs.tasks.words import TaskWords
from rlstitch.envs.world import World, require_defaults
from rlstitch.errors import InvalidInputError

if TYPE_CHECKING:
    import gymnasium
    from gymnasium.vector import AutoresetMode

    from rlstitch.envs.observation import Observations, Shape
    from rlstitch.envs.parts import Layout
    from rlstitch.envs.single import ActionSpace
    from rlstitch.envs.vector import WorldVectorEnv


def _constant_success(environment: Any) -> Any:
    """A MiniGrid whose success gives 1, not 1 - 0.9 * steps / max_steps (`MiniGridEnv._reward`)."""
    environment.unwrapped._reward = _one
    return environment


def _one() -> float:
    return 1.0


GRID_TASKS = TaskWords(
    "MiniGrid",
    actions=("left", "right", "forward", "pickup", "drop", "toggle", "done"),
    idle="done",
    own=(plain_word("no-time-cost", "a success gives 1, however late", Task(alterations=(_constant_success,))),),
)

_INSTRUCTED = re.compile(
    "MiniGrid-(Fetch|GoTo|KeyCorridor|LockedRoom|PutNear|(Blocked)?UnlockPickup)|"
    "BabyAI-(?!BlockedUnlockPickup|GoToRedBall(Grey|NoDists)|KeyCorridor|KeyInBox|OneRoom|OpenRed|UnlockLocal|UnlockTo)"
)
"""Environments whose mission differs between episodes: cards are shown without making one."""
_KEYS = ("image", "mission")
_NOT_OF_TILES = ("actions", "action_repeat", "frame_stack", "size", "crop", "make_kwargs")


class MiniGrid(Family):
    """MiniGrids, stepped by MiniGrid itself or by envpool."""

    name = "MiniGrid"
    symbolic = True
    sensors = ("pixels", "symbolic")
    modules = ("minigrid",)
    preset_prefix = "minigrid-"
    tasks = GRID_TASKS

    @property
    def makers(self) -> Mapping[str, Maker]:
        """The dynamics of MiniGrid itself or of envpool; both are drawn from the same tiles."""
        return dict.fromkeys(("gymnasium", "envpool"), self._make)

    def claims(self, environment: str) -> bool:
        """Return whether it is an id of MiniGrid or BabyAI."""
        return environment.startswith(("MiniGrid-", "BabyAI-"))

    def recognises(self, made: gymnasium.Env[Any, Any]) -> bool:
        """Return whether it is a MiniGrid under any wrappers."""
        from minigrid.minigrid_env import MiniGridEnv

        return isinstance(made.unwrapped, MiniGridEnv)

    def short_name(self, environment: str) -> str:
        """Return the id without `MiniGrid-`."""
        return environment.removeprefix("MiniGrid-")

    def describe(self, world: World) -> str:
        """Return the view and, of images, the size of its tiles."""
        return f"{world.view} view" + ("" if world.sensor == "symbolic" else f", tiles of {world.tile_size} pixels")

    def unseen(self, world: World) -> str:
        """Return that the mission is not seen, where it differs between episodes."""
        known = self.claims(world.environment)
        if "mission" in world.keys or not (
            _INSTRUCTED.match(world.environment) if known else len(_missions(world.environment)) > 1
        ):
            return ""
        return "the mission, a text that differs between episodes, is not shown to the agent"

    def observation_kind(self, world: World) -> tuple[str, Shape]:
        """Return the view and the shape of its images or symbols: all MiniGrids are drawn alike."""
        from rlstitch.envs.parts import shape_of

        layout = self._seen(world)
        return " and ".join([f"MiniGrid {world.view}-view", *(part.key for part in layout[1:])]), shape_of(layout)

    def layout(self, world: World) -> Layout:
        """Return the view and the mission, where `world.keys` names it."""
        return layout if len(layout := self._seen(world)) > 1 else ()

    def has_views(self, world: World) -> bool:
        """Return whether the mission is not observed, which symbolic views do not hold."""
        return "mission" not in world.keys

    def _seen(self, world: World) -> Layout:
        from rlstitch.envs.families.minigrid.tiles import CODE_WIDTH
        from rlstitch.envs.frames import seen_shape
        from rlstitch.envs.parts import Part
        from rlstitch.envs.reading import BITS, WORDS

        view, grid, _ = _facts(world.environment)
        rows, columns = view if world.view == "agent" else grid
        if world.sensor == "symbolic":
            image = Part("image", "vector", seen_shape(world, (rows * columns * CODE_WIDTH,)))
        else:
            shape = (rows * world.tile_size, columns * world.tile_size, 3)
            image = Part("image", "image", seen_shape(world, shape))
        return (image, Part("mission", "text", (WORDS * BITS,))) if "mission" in world.keys else (image,)

    def action_space(self, world: World) -> ActionSpace:
        """Return the environment's own actions."""
        return _facts(world.environment)[2]

    def drawn_as(self, world: World) -> tuple[str, ...]:
        """Return the view."""
        return (world.view,)

    def render_views(self, views: Images, world: World) -> Observations:
        """Return symbolic views uint8 `(N, h, w, 5)` as the sensor has them; see `families.minigrid.tiles`."""
        from rlstitch.envs.families.minigrid.tiles import code_index, encode_views, render_views

        if not self.has_views(world):
            raise InvalidInputError("keys: symbolic views hold no mission; expected image alone")
        if world.sensor == "symbolic":
            return code_index(encode_views(views))
        return render_views(views, variation=world.look, tile_size=world.tile_size)

    def _make(self, world: World, num_envs: int, seed: int | None, mode: AutoresetMode) -> WorldVectorEnv:
        from rlstitch.envs.families.minigrid.vector import MiniGridVectorEnv, MissionVectorEnv

        _check_observations(world)
        if world.backend == "envpool" and self.task(world).changes_steps:
            raise InvalidInputError(
                f"task: envpool has no {world.task!r} of {world.environment}; it needs the backend gymnasium"
            )
        if "mission" in world.keys:
            return MissionVectorEnv(world, num_envs, seed=seed, autoreset_mode=mode)
        return MiniGridVectorEnv(world, num_envs, seed=seed, autoreset_mode=mode)


def _check_observations(world: World) -> None:
    if world.keys not in ((), _KEYS, _KEYS[:1]):
        raise InvalidInputError(f"keys: expected image, or image and mission, found {' and '.join(world.keys)}")
    if "mission" in world.keys and world.backend != "gymnasium":
        raise InvalidInputError(f"keys: {world.backend} has no missions; they need the backend gymnasium")
    require_defaults(
        world, _NOT_OF_TILES, "a MiniGrid is drawn from its tiles, one for each step (see tile_size, view)"
    )
    if world.sensor == "symbolic":
        require_defaults(world, ("look", "tile_size"), "the sensor symbolic gives vectors, not images")


@functools.lru_cache(maxsize=256)
def _missions(environment: str, episodes: int = 8) -> frozenset[str]:
    """The missions of some episodes."""
    from rlstitch.envs.single import make_single

    made: Any = make_single(environment, MiniGrid.modules).unwrapped
    try:
        return frozenset(str(made.reset(seed=seed)[0]["mission"]) for seed in range(episodes))
    finally:
        made.close()


@functools.lru_cache(maxsize=256)
def _facts(environment: str) -> tuple[tuple[int, int], tuple[int, int], ActionSpace]:
    """Rows and columns of the agent's view and of the grid, and the actions."""
    from rlstitch.envs.single import action_space, make_single

    made = make_single(environment, MiniGrid.modules)
    inner: Any = made.unwrapped
    made.close()
    return (inner.agent_view_size,) * 2, (inner.height, inner.width), action_space(made, environment)


MINIGRID = MiniGrid()
