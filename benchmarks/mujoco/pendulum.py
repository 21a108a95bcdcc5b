"""A user's own environment: MuJoCo's double pendulum, seen by two layouts of sensors. It knows nothing of rlstitch."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces


class Layout(NamedTuple):
    """What one robot's sensors show of Gymnasium's nine numbers (position, 2 sines, 2 cosines, 3 velocities, force)."""

    columns: tuple[int, ...]
    """Which of them, in the order in which they are shown."""
    scales: tuple[float, ...]
    """What each is multiplied by."""
    distractors: int
    """Numbers behind them that mean nothing: normal noise of standard deviation 0.5, new at every step."""


LAYOUTS = {
    "left": Layout((6, 1, 0, 7, 2, 5, 4), (0.3, 2.0, -1.0, 0.2, 3.0, 0.5, 1.0), 3),
    "right": Layout((2, 5, 3, 7, 0, 6, 1), (-1.5, 0.3, 1.0, 0.4, 2.0, -0.2, 4.0), 4),
}
"""`left` is without the first angle's cosine, `right` without the second one's; neither has the force."""


class TwoLayouts(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Each state as a Dict of both layouts: vectors float32."""

    def __init__(self) -> None:
        super().__init__(gymnasium.make("InvertedDoublePendulum-v5").unwrapped)
        self.observation_space = spaces.Dict(
            {
                name: spaces.Box(-np.inf, np.inf, (len(layout.columns) + layout.distractors,), np.float32)
                for name, layout in LAYOUTS.items()
            }
        )

    def observation(self, observation: np.ndarray) -> dict[str, np.ndarray]:
        """Return what the sensors of both layouts show."""
        return {name: self._show(observation, layout) for name, layout in LAYOUTS.items()}

    def _show(self, observation: np.ndarray, layout: Layout) -> np.ndarray:
        noise = self.np_random.normal(scale=0.5, size=layout.distractors)
        shown = observation[list(layout.columns)] * layout.scales
        return np.concatenate([shown, noise]).astype(np.float32)


gymnasium.register("TwoLayoutPendulum-v0", TwoLayouts, max_episode_steps=1000)
