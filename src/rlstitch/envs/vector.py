"""The one vector environment of worlds: a simulator, what an agent sees of it, actions, seeds and autoreset.

A `Simulator` steps environments and never restarts one by itself; an `Observer` turns what they show into observations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from rlstitch.envs.actions import apply_discrete, apply_rows, map_of
from rlstitch.envs.looks.pixels import Images
from rlstitch.envs.observation import Observations, Shape, box_of, is_image
from rlstitch.envs.single import ActionSpace
from rlstitch.envs.tasks.task import Task
from rlstitch.envs.world import World
from rlstitch.errors import InvalidInputError

Seeds: TypeAlias = int | Sequence[int | None] | None
Rows: TypeAlias = npt.NDArray[np.intp]
Flags: TypeAlias = npt.NDArray[np.bool_]
Rewards: TypeAlias = npt.NDArray[np.float64]
Shown: TypeAlias = npt.NDArray[Any]
"""What environments show, before any look: images, vectors, or symbolic views in some form."""


class Simulator(Protocol):
    """`num_envs` environments that are stepped together and restarted one by one."""

    @property
    def action_space(self) -> ActionSpace:
        """Of one environment, before any task."""

    def start(self, rows: Rows, seeds: Sequence[int | None]) -> Shown:
        """Begin episodes in some environments; what these show `(len(rows), ...)`."""

    def step(self, actions: npt.NDArray[Any]) -> tuple[Shown, Rewards, Flags, Flags, dict[str, Any]]:
        """Take one step everywhere; what is shown `(N, ...)`, rewards, terminations, truncations, infos."""

    def close(self) -> None:
        """Close the environments."""


class Observes(Protocol):
    """What an agent sees of the environments: their newest observations."""

    shape: Shape
    observations: Observations

    def start(self, rows: Rows, shown: Shown) -> None:
        """Take what environments show that begin an episode; their observations are changed in place."""

    def step(self, shown: Shown) -> None:
        """Take what all environments show after a step; the observations are a fresh array."""


class WorldVectorEnv(VectorEnv[Observations, npt.NDArray[Any], npt.NDArray[Any]]):
    """Environments of one world as a Gymnasium vector environment.

    Observations are uint8 `(N, H, W, C)` or float32 `(N, D)`, a fresh array at every step. `autoreset_mode` is
    SAME_STEP (the last observation of an episode is in `infos["final_obs"]`, its infos in `infos["final_info"]`) or
    DISABLED (finished environments wait for a reset). `underlying` holds what the environments themselves show, before
    the look.

    Args:
        world: what is made.
        num_envs: how many.
        simulator: steps them.
        observer: what is seen of them.
        task: gives the action map; its other changes are made in the simulator.
        seed: of the first reset without one (environment i: seed + i).
        autoreset_mode: see above.

    Raises:
        InvalidInputError: for another autoreset mode, or a task that the actions cannot have.
    """

    def __init__(
        self,
        world: World,
        num_envs: int,
        simulator: Simulator,
        observer: Observes,
        task: Task,
        *,
        seed: int | None = None,
        autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
    ) -> None:
        if autoreset_mode not in (AutoresetMode.SAME_STEP, AutoresetMode.DISABLED):
            raise InvalidInputError(f"autoreset_mode: expected SAME_STEP or DISABLED, found {autoreset_mode}")
        self.world, self.num_envs = world, num_envs
        self.underlying: Shown = np.zeros((num_envs, 0), dtype=np.uint8)
        self.simulator, self.observer, self._default_seed = simulator, observer, seed
        self._same_step = autoreset_mode == AutoresetMode.SAME_STEP
        self._waiting = np.ones(num_envs, dtype=np.bool_)
        self._actions = map_of(task, simulator.action_space, world.environment)
        self.render_mode = "rgb_array" if is_image(observer.shape) else None
        self.metadata = {
            "render_modes": [self.render_mode] * is_image(observer.shape),
            "autoreset_mode": autoreset_mode,
        }
        self.single_observation_space = box_of(observer.shape)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        actions: Any = simulator.action_space if self._actions is None else spaces.Discrete(len(self._actions))
        self.single_action_space, self.action_space = actions, batch_space(actions, num_envs)

    def reset(
        self, *, seed: Seeds = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Start new episodes, in all environments or in those of `options["reset_mask"]`, bool `(N,)`.

        Args:
            seed: one number (environment i gets seed + i) or one for each environment.
            options: see above.

        Returns:
            The observations of all environments, and no infos.

        Raises:
            InvalidInputError: for seeds or a mask of the wrong shape or kind.
        """
        rows, seeds = read_reset(self._default_seed if seed is None else seed, options, self.num_envs)
        self._default_seed = None
        self.observer.observations = self.observer.observations.copy()
        self._start(rows, seeds)
        return self.observer.observations, {}

    def _start(self, rows: Rows, seeds: Sequence[int | None]) -> None:
        shown = self.simulator.start(rows, seeds)
        if len(rows) == self.num_envs:
            self.underlying = shown
        else:
            self.underlying = self.underlying.copy()
            self.underlying[rows] = shown
        self.observer.start(rows, shown)
        self._waiting[rows] = False

    def step(self, actions: npt.NDArray[Any]) -> tuple[Observations, Rewards, Flags, Flags, dict[str, Any]]:
        """Take one step in every environment; rewards are float64.

        Raises:
            InvalidInputError: for actions out of range, and for environments whose episode is over and that were not
                reset.
        """
        if self._waiting.any():
            waiting = np.flatnonzero(self._waiting).tolist()
            raise InvalidInputError(f"step: environments {waiting} are not in an episode; reset them first")
        space, chosen = self.simulator.action_space, actions
        if self._actions is not None:
            chosen = apply_discrete(actions, self._actions, self.num_envs)
        elif not isinstance(space, spaces.Discrete):
            chosen = apply_rows(actions, space, self.num_envs)
        self.underlying, rewards, terminations, truncations, infos = self.simulator.step(chosen)
        self.observer.step(self.underlying)
        done = terminations | truncations
        if not self._same_step:
            self._waiting |= done
        elif done.any():
            final, rows = np.full(self.num_envs, None, dtype=object), np.flatnonzero(done)
            for row in rows.tolist():
                final[row] = self.observer.observations[row].copy()
            infos.update(final_obs=final, _final_obs=done, final_info=dict(infos), _final_info=done)
            self._start(rows, [None] * len(rows))
        return self.observer.observations, rewards, terminations, truncations, infos

    def render(self) -> tuple[Images, ...] | None:
        """Return the newest images of each environment as the agent sees it; None where it sees vectors."""
        return None if self.render_mode is None else tuple(self.observer.observations)

    def close_extras(self, **kwargs: Any) -> None:
        """Close the environments."""
        self.simulator.close()


def read_reset(
    seed: Seeds, options: dict[str, Any] | None, num_envs: int
) -> tuple[npt.NDArray[np.intp], list[int | None]]:
    """Return the environments to reset, and a seed for each of them.

    Args:
        seed: one number (environment i gets seed + i), one for each environment, or None.
        options: `reset_mask`, a bool array `(num_envs,)`; the caller's dictionary is left as it was.
        num_envs: how many environments there are.

    Raises:
        InvalidInputError: for a mask or seeds of another shape or kind, and for unknown options.
    """
    options = {} if options is None else dict(options)
    mask = options.pop("reset_mask", None)
    if options:
        raise InvalidInputError(f"options: expected reset_mask, found {', '.join(map(str, options))}")
    seeds: list[int | None]
    if seed is None:
        seeds = [None] * num_envs
    elif isinstance(seed, (int, np.integer)):
        seeds = [int(seed) + i for i in range(num_envs)]
    else:
        seeds = [None if one is None else int(one) for one in seed]
    if len(seeds) != num_envs:
        raise InvalidInputError(f"seed: expected {num_envs} seeds, one an environment, found {len(seeds)}")
    if mask is None:
        return np.arange(num_envs), seeds
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (num_envs,) or not mask.any():
        kind = f"{mask.dtype} {mask.shape}" if isinstance(mask, np.ndarray) else type(mask).__name__
        raise InvalidInputError(f"reset_mask: expected a bool array ({num_envs},), true at least once, found {kind}")
    rows = np.flatnonzero(mask)
    return rows, [seeds[row] for row in rows]
