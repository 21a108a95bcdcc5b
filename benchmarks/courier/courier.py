"""An environment of a user's own: a courier fetches a parcel and brings it to a door. It knows nothing of rlstitch."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

CELLS, CELL = 8, 8
FLOOR, DOOR, PARCEL, COURIER, LADEN = (40, 44, 52), (70, 110, 220), (220, 150, 40), (90, 200, 110), (230, 230, 90)
MOVES = ((0, 1), (1, 0), (0, -1), (-1, 0))


class Courier(gymnasium.Env[Any, Any]):
    """Images uint8 (64, 64, 3), four moves. A move costs 0.02, and earns 0.1 a cell nearer to where to go next."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(0, 255, (CELLS * CELL, CELLS * CELL, 3), np.uint8)
        self.action_space = spaces.Discrete(len(MOVES))

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Place courier, parcel and door at random."""
        super().reset(seed=seed)
        places = self.np_random.permutation(CELLS * CELLS)[:3]
        self.courier, self.parcel, self.door = (np.array(divmod(int(place), CELLS)) for place in places)
        self.laden = False
        return self._draw(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Move the courier; at the edge it stays."""
        goal = self.door if self.laden else self.parcel
        before = self._distance(goal)
        self.courier = (self.courier + MOVES[int(action)]).clip(0, CELLS - 1)
        after = self._distance(goal)
        delivered = self.laden and after == 0
        self.laden = self.laden or after == 0
        return self._draw(), 0.1 * (before - after) - 0.02, delivered, False, {"is_success": delivered}

    def _distance(self, goal: np.ndarray) -> int:
        return int(np.abs(self.courier - goal).sum())

    def _draw(self) -> np.ndarray:
        cells = np.full((CELLS, CELLS, 3), FLOOR, dtype=np.uint8)
        cells[tuple(self.door)] = DOOR
        if not self.laden:
            cells[tuple(self.parcel)] = PARCEL
        cells[tuple(self.courier)] = LADEN if self.laden else COURIER
        return np.kron(cells, np.ones((CELL, CELL, 1), dtype=np.uint8))


gymnasium.register("Courier-v0", Courier, max_episode_steps=50)
