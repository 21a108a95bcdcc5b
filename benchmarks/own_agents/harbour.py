"""A user's own environment: a boat is to reach a buoy. It knows nothing of rlstitch."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

CELLS, CELL = 6, 8
SEA, BUOY, BOAT = (30, 60, 120), (220, 60, 40), (240, 220, 120)
MOVES = ((0, 1), (1, 0), (0, -1), (-1, 0))


class Harbour(gymnasium.Env[Any, Any]):
    """Images uint8 (48, 48, 3), four moves. A move costs 0.02 and earns 0.1 a cell nearer to the buoy, the end."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(0, 255, (CELLS * CELL, CELLS * CELL, 3), np.uint8)
        self.action_space = spaces.Discrete(len(MOVES))

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Place boat and buoy at random."""
        super().reset(seed=seed)
        boat, buoy = self.np_random.permutation(CELLS * CELLS)[:2]
        self.boat, self.buoy = (np.array(divmod(int(place), CELLS)) for place in (boat, buoy))
        return self._draw(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Move the boat; at the edge it stays."""
        before = self._distance()
        self.boat = (self.boat + MOVES[int(action)]).clip(0, CELLS - 1)
        arrived = self._distance() == 0
        reward = 0.1 * (before - self._distance()) - 0.02
        return self._draw(), reward, arrived, False, {"is_success": arrived}

    def _distance(self) -> int:
        return int(np.abs(self.boat - self.buoy).sum())

    def _draw(self) -> np.ndarray:
        cells = np.full((CELLS, CELLS, 3), SEA, dtype=np.uint8)
        cells[tuple(self.buoy)], cells[tuple(self.boat)] = BUOY, BOAT
        return np.kron(cells, np.ones((CELL, CELL, 1), dtype=np.uint8))


gymnasium.register("Harbour-v0", Harbour, max_episode_steps=30)
