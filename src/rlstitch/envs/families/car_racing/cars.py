"""CarRacing: the colours of its ground, its camera, and its two kinds of actions.

Gymnasium's own environment is given another palette: exact. Where another backend draws, or an image is there already,
the ground is recoloured in the finished image: nearly exact (its edges are blends; see `recolour`).
The colours are those of R3L (arXiv:2404.12917) and SAPS (arXiv:2503.01881).
"""

from __future__ import annotations

import functools
from types import MappingProxyType
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.wrappers import TransformObservation

from rlstitch.envs.envpool_batch import EnvpoolBatch
from rlstitch.envs.looks.look import Look, get_look, pixel_part
from rlstitch.envs.looks.pixels import Images, PixelFunction
from rlstitch.envs.single import ActionSpace
from rlstitch.envs.vector import Flags, Rewards, Rows, Shown
from rlstitch.errors import MissingExtraError

ENVIRONMENT = "CarRacing-v3"
SIDE, GROUND_ROWS = 96, 84
"""The image is square; below its first 84 rows lies the bar of indicators."""
MAX_STEPS = 1000
ZOOM, FAR_ZOOM = 2.7, 1.0
"""Of the environment's own camera, and of the far one."""
SPEED_LIMIT, OVERSPEED, TIME_COST = 35.0, -100.0, 0.1

PALETTES: MappingProxyType[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = MappingProxyType(
    {
        "green": ((102, 204, 102), (102, 230, 102)),
        "red": ((204, 102, 102), (230, 102, 102)),
        "blue": ((102, 102, 204), (102, 102, 230)),
        "yellow": ((230, 230, 102), (255, 255, 102)),
        "violet": ((204, 102, 204), (230, 102, 230)),
    }
)
"""Background and grass of each look; green is what the environment has of its own."""
MULTICOLOUR = ("green", "red", "blue")
"""The grounds of the look `multicolour`, one of which each episode has."""

ACTIONS: npt.NDArray[np.float32] = np.array(
    [[0, 0, 0], [0.6, 0, 0], [-0.6, 0, 0], [0, 0.2, 0], [0, 0, 0.8]], dtype=np.float32
)
"""Steering, gas and brake of the five discrete actions: idle, steer one way and the other, gas, brake."""
ACTIONS.flags.writeable = False
STEERING = spaces.Box(np.array([-1, 0, 0], dtype=np.float32), np.ones(3, dtype=np.float32))


class CarLook(NamedTuple):
    """What a look means to CarRacing."""

    ground: str
    """A key of `PALETTES`, or `multicolour`."""
    far: bool
    """Whether the camera is far away."""
    pixels: Look
    """What is left: a function of finished images."""


def split_look(name: str) -> CarLook:
    """Return the parts of a look.

    Raises:
        UnknownNameError: for an unknown look.
        InvalidInputError: for a floor colour that CarRacing has not.
    """
    look = get_look(name)
    look.check_tint("CarRacing", "grounds", PALETTES)
    camera = (look.camera or "").split("+")
    ground = "multicolour" if "multicolour" in camera else look.tint or "green"
    return CarLook(ground, "far" in camera, pixel_part(look))


def recolour(images: Images, ground: str) -> Images:
    """Pictures uint8 `(..., H, W, 3)` of the green ground with another one; the bar of indicators is left alone.

    What a pixel has more of green than of red and blue is the grass in it: that share is taken out and put back in the
    other colour. Exact for plain ground, and for its blends with greys (road, wheels, kerb) up to rounding and, under
    yellow, a few levels; nearly so for blends with the red of car and kerb.
    """
    if ground == "green":
        return images
    out = images.copy()
    field = out[..., :GROUND_ROWS, :, :] if out.shape[-2] == SIDE else out  # they may be cropped, not shrunk
    red, green, blue = (field[..., channel].astype(np.int16) for channel in range(3))
    excess = np.maximum(green - np.maximum(red, blue), 0)
    added = _shares(ground)[excess]
    for channel, values in enumerate((red, green - excess, blue)):
        field[..., channel] = np.minimum(values + added[..., channel], 255)
    return out


@functools.cache
def _shares(ground: str) -> npt.NDArray[np.int16]:
    """What to add for each excess of green 0..255, `(256, 3)`: straight lines through none, background and grass."""
    grey = PALETTES["green"][0][0]
    knots = [0, *(colour[1] - grey for colour in PALETTES["green"])]
    table = np.empty((256, 3))
    for channel in range(3):
        levels = [0, *(colour[channel] - grey for colour in PALETTES[ground])]
        table[:, channel] = np.interp(np.arange(256), knots, levels)
    return np.rint(table).astype(np.int16)


def pixel_look(name: str) -> PixelFunction:
    """Return the whole look as a function of images under the environment's own colours.

    Raises:
        InvalidInputError: where it moves the camera, or changes the ground with the episode.
    """
    get_look(name).check_camera("it needs the backend gymnasium")
    ground, _, rest = split_look(name)
    return lambda images: rest.apply(recolour(images, ground))


def make_car(
    ground: str = "green", *, discrete: bool, far: bool = False, drawn: bool = True
) -> gymnasium.Env[Any, Any]:
    """Return Gymnasium's CarRacing on a ground of that colour, with its own camera or a far one.

    Args:
        ground: as `CarLook.ground`.
        discrete: five actions, in place of steering, gas and brake.
        far: whether the camera is far away.
        drawn: whether steps return images; where not, `drawn_when_seen` draws the states that are seen.

    Raises:
        MissingExtraError: where Box2D is not installed.
    """
    try:
        made = gymnasium.make(ENVIRONMENT, continuous=not discrete, disable_env_checker=True)
    except gymnasium.error.DependencyNotInstalled:
        raise MissingExtraError("CarRacing", "box2d") from None
    from rlstitch.envs.families.car_racing.drawing import CarDrawing

    car: Any = made.unwrapped
    grounds = [PALETTES[name] for name in (MULTICOLOUR if ground == "multicolour" else (ground,))]
    car.drawing = CarDrawing(car, grounds, FAR_ZOOM if far else ZOOM)
    car._render = car.drawing if drawn else car.drawing.note
    return made


def drawn_when_seen(made: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """Return an environment around an undrawn `make_car` that observes uint8 `(96, 96, 3)`, drawn once an action."""
    car: Any = made.unwrapped
    return TransformObservation(made, lambda _: car.drawing.image(), made.observation_space)


class SlowDriving(gymnasium.Wrapper[Any, Any, Any, Any]):
    """CarRacing without its cost of time, where driving faster than `SPEED_LIMIT` ends the episode with -100 (R3L)."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one step."""
        image, reward, terminated, truncated, info = self.env.step(action)
        car: Any = self.env.unwrapped
        if info.get("lap_finished") is False:  # off the field: that costs 100 and no time
            return image, float(reward), terminated, truncated, info
        if car.car.hull.linearVelocity.length > SPEED_LIMIT:
            return image, OVERSPEED, True, False, info
        return image, float(reward) + TIME_COST, terminated, truncated, info


class EnvpoolCars:
    """`num_envs` cars as a simulator. A seed gives the same track every time, though not Gymnasium's of that seed.

    Args:
        num_envs: how many.
        action_space: five discrete actions, or steering, gas and brake.
        action_repeat: steps for one action, unless the episode ends before.
        max_steps: of an episode.
        step_cost: subtracted from the reward of each step.
    """

    def __init__(
        self,
        num_envs: int,
        action_space: ActionSpace,
        *,
        action_repeat: int = 1,
        max_steps: int = MAX_STEPS,
        step_cost: float = 0.0,
    ) -> None:
        self.action_space, self._repeat, self._cost = action_space, action_repeat, step_cost
        self._batch = EnvpoolBatch(ENVIRONMENT, num_envs, max_episode_steps=max_steps)
        self.start, self.close = self._batch.reset, self._batch.close

    def step(self, actions: npt.NDArray[Any]) -> tuple[Shown, Rewards, Flags, Flags, dict[str, Any]]:
        """Take one action everywhere; images `(N, 96, 96, 3)`."""
        chosen = ACTIONS[actions] if isinstance(self.action_space, spaces.Discrete) else actions
        count = len(actions)
        rewards = np.zeros(count)
        terminated, truncated = np.zeros((2, count), dtype=np.bool_)
        images = np.empty((count, SIDE, SIDE, 3), dtype=np.uint8)
        running: Rows = np.arange(count)
        for _ in range(self._repeat):
            images[running], reward, terminated[running], truncated[running] = self._batch.step(
                running, chosen[running]
            )
            rewards[running] += reward - self._cost
            running = running[~(terminated | truncated)[running]]
            if not len(running):
                break
        return images, rewards, terminated, truncated & ~terminated, {}
