"""Gymnasium's LunarLander without its drawing: what it observes is a scene, the numbers that every look is drawn from.

The physics is Gymnasium's own. The sparks of the engines are left out of it: they touch nothing but the ground, and fly
here as free bodies that bounce straight up from it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from rlstitch.errors import MissingExtraError

Scenes = npt.NDArray[np.float32]
"""`(N, SCENE)`, see `Scene`."""
STATES, CHUNKS, BODIES, SPARKS = 8, 11, 3, 14
SPARK_MASS = math.pi * (2 / 30) ** 2
"""Of a spark of density 1: a circle of 2 pixels."""
COOLING, BOUNCE = 0.15, 0.3
"""Of a spark: the heat that it loses in a step, and its restitution."""
CHUNK = 2.0
"""Metres between two heights of the ground."""
STEP = 1 / 50
MAX_STEPS = 1000
LANDED = 100
"""Reward of the step at which the lander comes to rest, instead of all else."""
_SPLITS = np.cumsum([STATES, CHUNKS, 3 * BODIES]).tolist()
SCENE = STATES + CHUNKS + 3 * BODIES + 3 * SPARKS
"""Numbers of a scene."""


class Scene(NamedTuple):
    """The parts of scenes `(N, SCENE)`; lengths are metres, 30 pixels each, y upwards."""

    states: Scenes
    """`(N, 8)` as Gymnasium's environment observes them."""
    ground: Scenes
    """`(N, 11)` heights of the ground, evenly spaced."""
    bodies: Scenes
    """`(N, 3, 3)` lander and legs: x, y, angle."""
    sparks: Scenes
    """`(N, 14, 3)` x, y, heat; where heat is below 0 there is none."""


def read_scenes(scenes: Scenes) -> Scene:
    """Return the parts of scenes."""
    states, ground, bodies, sparks = np.split(scenes, _SPLITS, axis=1)
    return Scene(states, ground, bodies.reshape(-1, BODIES, 3), sparks.reshape(-1, SPARKS, 3))


class Spark:
    """One spark of an engine, in place of a body of Box2D."""

    def __init__(self, density: float, x: float, y: float, heat: float) -> None:
        self._mass = density * SPARK_MASS
        self.x, self.y, self.heat = x, y, heat
        self._velocity = (0.0, 0.0)

    def ApplyLinearImpulse(self, impulse: tuple[float, float], *_: Any) -> None:
        """Set it in motion."""
        self._velocity = (impulse[0] / self._mass, impulse[1] / self._mass)

    def fly(self, gravity: float, heights: Sequence[float]) -> None:
        """Move by one step of Box2D, bounce where that ends below the ground, and cool."""
        across, up = self._velocity
        up += gravity * STEP
        self.x += across * STEP
        self.y += up * STEP
        self.heat -= COOLING
        place = min(max(self.x / CHUNK, 0.0), CHUNKS - 1.001)
        left = int(place)
        ground = heights[left] + (place - left) * (heights[left + 1] - heights[left])
        if self.y < ground:
            self.y, up = ground + BOUNCE * (ground - self.y), -BOUNCE * up
        self._velocity = (across, up)


def make_lander(*, continuous: bool = False, drawn: bool = True) -> gymnasium.Env[Any, Any]:
    """Return one LunarLander with Gymnasium's limit of 1,000 steps, which observes states `(8,)`.

    Args:
        continuous: whether actions are the powers of the engines.
        drawn: whether it has sparks and can be observed by `SceneObservation`; without it a step costs less.

    Raises:
        MissingExtraError: where Box2D is not installed.
    """
    try:
        from gymnasium.envs.box2d import lunar_lander
    except gymnasium.error.DependencyNotInstalled:
        raise MissingExtraError("LunarLander", "box2d") from None

    class SceneLander(lunar_lander.LunarLander):  # type: ignore[misc, unused-ignore]
        """Gymnasium's, which never draws; its successes are landings: the lander is at rest."""

        def __init__(self) -> None:
            super().__init__(continuous=continuous)
            if drawn:
                self.render_mode = "rgb_array"  # else it makes no sparks

        def _create_particle(self, mass: float, x: float, y: float, ttl: float) -> Spark:
            spark = Spark(mass, x, y, ttl)
            self.particles.append(spark)
            return spark

        def _clean_particles(self, all_particle: bool) -> None:
            if all_particle:
                self.particles.clear()

        def reset(self, **kwargs: Any) -> Any:
            result = super().reset(**kwargs)
            self._heights = [*(corners[0][1] for corners in self.sky_polys), self.sky_polys[-1][1][1]]
            return result

        def step(self, action: Any) -> Any:
            state, reward, *ends, _ = super().step(action)
            for spark in self.particles:
                spark.fly(self.gravity, self._heights)
            self.particles = [spark for spark in self.particles if spark.heat >= 0]
            return state, reward, *ends, {"success": bool(reward == LANDED)}

        def scene(self, state: Any) -> Any:
            """Return the scene of now, whose state is `state`."""
            scene = np.full(SCENE, -1.0, dtype=np.float32)
            numbers = [*state, *self._heights]
            for body in self.drawlist:
                position = body.position
                numbers += position.x, position.y, body.angle
            for spark in self.particles:
                numbers += spark.x, spark.y, spark.heat
            scene[: len(numbers)] = numbers
            return scene

    return gymnasium.wrappers.TimeLimit(SceneLander(), MAX_STEPS)


class SceneObservation(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Observes the scenes `(SCENE,)` of `make_lander(drawn=True)`; outermost, one is made for each action."""

    def __init__(self, environment: gymnasium.Env[Any, Any]) -> None:
        super().__init__(environment)
        self.observation_space = spaces.Box(-np.inf, np.inf, (SCENE,), np.float32)

    def observation(self, state: Any) -> Any:
        """Return the scene of a state."""
        return self.unwrapped.scene(state)  # type: ignore[attr-defined]
