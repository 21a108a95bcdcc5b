"""The evaluations that a cell is compared with: random actions, and the native agent in its own world."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rlstitch.agents.agent import Agent
from rlstitch.envs import World, make_vec
from rlstitch.evaluation.options import CellOptions
from rlstitch.evaluation.row import Row, make_row
from rlstitch.jobs.progress import OnProgress, part, silent
from rlstitch.rollouts.actors import RandomAgent
from rlstitch.rollouts.evaluation import Evaluation

NOBODY = "–"
"""The encoder and controller of the row of random actions."""


def plain_world(world: World) -> World:
    """Return a world under the standard look: random actions do not depend on the look."""
    return replace(world, look="standard")


def evaluate_random(world: World, options: CellOptions, *, on_progress: OnProgress = silent) -> Evaluation:
    """Evaluate random actions in a world."""
    environments = make_vec(world, 1, seed=0)
    actions = environments.single_action_space
    environments.close()
    return options.evaluate(RandomAgent(actions), world, on_progress=on_progress)


class Baselines:
    """Random and native evaluations; each is made once and kept.

    Args:
        on_progress: called with the episodes that have ended, and those of all evaluations.
        evaluations: how many there will be, those of stitched agents among them.
    """

    def __init__(self, on_progress: OnProgress = silent, evaluations: int = 1) -> None:
        self._known: dict[tuple[Any, CellOptions], Evaluation] = {}
        self._on_progress, self._evaluations, self._begun = on_progress, evaluations, 0

    def next_part(self) -> OnProgress:
        """Return what reports the next evaluation as one of all."""
        self._begun += 1
        return part(self._on_progress, self._begun - 1, max(self._begun, self._evaluations))

    def random(self, world: World, options: CellOptions) -> Evaluation:
        """Return the evaluation of random actions in a world, whatever its look."""
        plain = plain_world(world)
        return self._once(plain, options, lambda: evaluate_random(plain, options, on_progress=self.next_part()))

    def native(self, agent: Agent, options: CellOptions) -> Evaluation:
        """Return the evaluation of an agent in its own world."""
        return self._once(agent, options, lambda: options.evaluate(agent, on_progress=self.next_part()))

    def random_row(self, world: World, options: CellOptions) -> Row:
        """Return the row of random actions."""
        return make_row(NOBODY, NOBODY, "random", self.random(world, options))

    def native_row(self, agent: Agent, options: CellOptions) -> Row:
        """Return the row of an agent in its own world."""
        return make_row(agent.card.name, agent.card.name, "native", self.native(agent, options))

    def _once(self, key: Any, options: CellOptions, evaluate: Callable[[], Evaluation]) -> Evaluation:
        if (key, options) not in self._known:
            self._known[key, options] = evaluate()
        return self._known[key, options]
