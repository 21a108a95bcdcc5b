"""Atari games as simulators of images and of RAM, with a seed for each episode.

Images come from `ale_py.vector_env.AtariVectorEnv`, which gives no RAM; RAM comes from single games that do what its
games do, so that one seed and the same actions give the same states under both sensors.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rlstitch.envs.looks.pixels import Images
from rlstitch.envs.looks.text import Colour
from rlstitch.envs.single import ActionSpace
from rlstitch.envs.tasks.task import Task
from rlstitch.envs.vector import Flags, Rewards, Rows, Shown
from rlstitch.envs.world import World
from rlstitch.errors import InvalidInputError, needs_extra, require_known
from rlstitch.jobs.resources import threads_for
from rlstitch.storage import first_problem

RAM = 128
"""Bytes."""


class _Settings(BaseModel):
    """`World.make_kwargs` of a game; the defaults are those of `ALE/<Game>-v5`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    repeat_action_probability: float = Field(default=0.25, ge=0, le=1)
    """Of each frame, that it carries out the action of the frame before (sticky actions, arXiv:1709.06009)."""
    frameskip: int = Field(default=4, ge=1, le=60)
    full_action_space: bool = False
    noop_max: int = Field(default=30, ge=0, le=1000)
    """A game begins after 0 to `noop_max - 1` frames without an action, as its seed decides."""
    use_fire_reset: bool = True
    """Whether the first of these frames presses FIRE where the game has it."""
    max_num_frames_per_episode: int = Field(default=108_000, ge=1, le=10**9)


class Facts(NamedTuple):
    """What is known of a game without playing it."""

    rom: str
    screen: tuple[int, int]
    """Height and width of the images."""
    actions: int
    """Number of actions that the game uses."""
    all_actions: int


@functools.lru_cache(maxsize=128)
def facts(environment: str) -> Facts:
    """Return the facts of a game by the id of its environment.

    Raises:
        MissingExtraError: without ale-py.
        UnknownNameError: for a game that ale-py does not have.
    """
    with needs_extra("Atari", "atari"):
        import ale_py
        from ale_py import registration, roms

    shared = {"combat", "joust", "maze_craze", "warlords"}  # for several players only: ale-py registers none of them
    games = {f"ALE/{registration.rom_id_to_name(rom)}-v5": rom for rom in roms.get_all_rom_ids() if rom not in shared}
    require_known("environment", environment, games)
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    game = ale_py.ALEInterface()
    game.loadROM(roms.get_rom_path(games[environment]))
    height, width = game.getScreenDims()
    minimal, legal = game.getMinimalActionSet(), game.getLegalActionSet()
    return Facts(games[environment], (height, width), len(minimal), len(legal))


def read_settings(world: World) -> dict[str, Any]:
    """Return the settings of a world's game, checked, with their defaults.

    Raises:
        InvalidInputError: for a setting that is unknown or out of range.
    """
    try:
        return _Settings.model_validate(world.make_kwargs).model_dump()
    except ValidationError as error:
        raise InvalidInputError(f"make_kwargs: {world.environment}: {first_problem(error)}") from None


def drawn_size(world: World) -> tuple[int, int] | None:
    """Return the size to which the emulator's images are resized; None: they stay whole."""
    return None if world.size is None or world.crop is not None else (world.size, world.size)


def behind_glass(images: Images, colour: Colour) -> Images:
    """Return images uint8 `(..., H, W, 3)` with each channel dimmed: kept at 255 of the colour, halved at 0."""
    tables = [np.rint(np.arange(256) * (255 + level) / 510).astype(np.uint8) for level in colour]
    return np.stack([table[images[..., channel]] for channel, table in enumerate(tables)], axis=-1)


class _Games:
    """What both simulators are made of: settings of the game, and filters of actions.

    Raises:
        MissingExtraError, UnknownNameError, InvalidInputError: as `facts` and `read_settings`, and for a task that
            wraps single environments.
    """

    def __init__(self, world: World, num_envs: int, task: Task, action_space: ActionSpace) -> None:
        self._game, self._settings = facts(world.environment), read_settings(world)
        if task.alterations:
            raise InvalidInputError(f"task: {world.environment} has no {world.task!r}")
        if task.max_steps is not None:
            self._settings["max_num_frames_per_episode"] = task.max_steps * self._settings["frameskip"]
        self.action_space, self._cost = action_space, task.step_cost
        self._filters = [task.make_filter() for _ in range(num_envs)]

    def _start_filters(self, rows: Rows, seeds: Sequence[int | None]) -> None:
        for row, seed in zip(rows.tolist(), seeds, strict=True):
            self._filters[row].start(seed)

    def _carried_out(self, actions: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        pairs = zip(self._filters, actions.tolist(), strict=True)
        return np.array([each.carried_out(action) for each, action in pairs], dtype=np.int64)


class AtariBatch(_Games):
    """`num_envs` games of a world, seen as images. An episode is a function of its seed and its actions.

    Args:
        world: game, settings and size of the images.
        num_envs: how many.
        task: limit of steps, cost of a step, and filters of actions.
        action_space: of the game.
    """

    def __init__(self, world: World, num_envs: int, task: Task, action_space: ActionSpace) -> None:
        super().__init__(world, num_envs, task, action_space)
        from ale_py.vector_env import AtariVectorEnv

        height, width = drawn_size(world) or self._game.screen
        self._envs = AtariVectorEnv(
            self._game.rom,
            num_envs,
            num_threads=min(num_envs, threads_for(math.inf)),
            img_height=height,
            img_width=width,
            grayscale=False,
            stack_num=1,
            reward_clipping=False,
            # Finished games are reset before the next step, so that the reset in its place never comes.
            autoreset_mode="NextStep",
            **self._settings,
        )
        self._begun = False

    def start(self, rows: Rows, seeds: Sequence[int | None]) -> Shown:
        """Begin games in some environments; their images `(len(rows), H, W, 3)`."""
        self._start_filters(rows, seeds)
        if not self._begun and len(rows) < self._envs.num_envs:  # ALE's first reset is of all
            self._envs.reset()
        self._begun = True
        mask = np.zeros(self._envs.num_envs, dtype=np.bool_)
        mask[rows] = True
        given = np.array([-1 if seed is None else seed % 2**31 for seed in seeds])
        images, _ = self._envs.reset(seed=given, options={"reset_mask": mask})
        return np.asarray(images[rows, 0])

    def step(self, actions: npt.NDArray[Any]) -> tuple[Shown, Rewards, Flags, Flags, dict[str, Any]]:
        """Take one step everywhere; images `(N, H, W, 3)`, the lives that are left in the infos."""
        images, rewards, terminated, truncated, infos = self._envs.step(self._carried_out(actions))
        return images[:, 0], rewards - self._cost, terminated, truncated, {"lives": infos["lives"]}

    def close(self) -> None:
        """Close the games."""
        self._envs.close()


class RamBatch(_Games):
    """The games of `AtariBatch`, with the same arguments, seen as the 128 bytes of RAM, divided by 255."""

    def __init__(self, world: World, num_envs: int, task: Task, action_space: ActionSpace) -> None:
        super().__init__(world, num_envs, task, action_space)
        with needs_extra("Atari", "atari"):
            import ale_py
        self._rom = ale_py.roms.get_rom_path(self._game.rom)
        self._games = [ale_py.ALEInterface() for _ in range(num_envs)]
        self._random = [np.random.RandomState(0) for _ in range(num_envs)]
        self._seeded = [False] * num_envs
        self._frames = np.zeros(num_envs, dtype=np.int64)
        for game in self._games:
            game.setFloat("repeat_action_probability", self._settings["repeat_action_probability"])
        full = self._settings["full_action_space"]
        self._games[0].loadROM(self._rom)
        self._actions = self._games[0].getLegalActionSet() if full else self._games[0].getMinimalActionSet()
        noop, fire = ale_py.Action.NOOP, ale_py.Action.FIRE
        self._noop, self._fire = noop, fire if self._settings["use_fire_reset"] and fire in self._actions else None

    def start(self, rows: Rows, seeds: Sequence[int | None]) -> Shown:
        """Begin games in some environments; float32 `(len(rows), 128)`."""
        self._start_filters(rows, seeds)
        for row, seed in zip(rows.tolist(), seeds, strict=True):
            self._begin(row, seed)
        return self._ram()[rows]

    def _begin(self, row: int, seed: int | None) -> None:
        """Begin a game as ALE's batch does, with as many frames without an action."""
        game = self._games[row]
        if seed is None and not self._seeded[row]:
            seed = int(np.random.SeedSequence().generate_state(1)[0])
        if seed is not None:
            self._seeded[row], self._random[row] = True, np.random.RandomState(seed % 2**31)
            game.setInt("random_seed", seed % 2**31)
            game.loadROM(self._rom)
        game.reset_game()
        # std::uniform_int_distribution over std::mt19937 in libstdc++: Lemire's method (arXiv:1805.10941).
        count = max(1, self._settings["noop_max"])
        product = count * int(self._random[row].randint(2**32, dtype=np.uint32))
        while product % 2**32 < 2**32 % count:
            product = count * int(self._random[row].randint(2**32, dtype=np.uint32))
        idle = product >> 32
        if self._fire is not None:
            game.act(self._fire)
            idle -= 1
        for _ in range(idle):
            game.act(self._noop)
            if game.game_over():
                game.reset_game()
        self._frames[row] = 0

    def step(self, actions: npt.NDArray[Any]) -> tuple[Shown, Rewards, Flags, Flags, dict[str, Any]]:
        """Take one step everywhere; float32 `(N, 128)`, the lives that are left in the infos."""
        count, limit = len(self._games), self._settings["max_num_frames_per_episode"]
        rewards, terminated = np.full(count, -self._cost), np.zeros(count, dtype=np.bool_)
        for row, (game, action) in enumerate(zip(self._games, self._carried_out(actions).tolist(), strict=True)):
            for _ in range(self._settings["frameskip"]):
                rewards[row] += game.act(self._actions[action])
                self._frames[row] += 1
                terminated[row] = game.game_over()
                if terminated[row] or self._frames[row] >= limit:
                    break
        lives = np.array([game.lives() for game in self._games])
        return self._ram(), rewards, terminated, (self._frames >= limit) & ~terminated, {"lives": lives}

    def _ram(self) -> npt.NDArray[np.float32]:
        return np.stack([game.getRAM() for game in self._games]).astype(np.float32) / np.float32(255)

    def close(self) -> None:
        """Close the games."""
        self._games.clear()
