"""How cells are measured: the options that every result depends on."""

from __future__ import annotations

from dataclasses import dataclass

from rlstitch.envs import World
from rlstitch.jobs.progress import OnProgress, silent
from rlstitch.rollouts.actors import Actor
from rlstitch.rollouts.episodes import check_seed
from rlstitch.rollouts.evaluation import Evaluation, check_counts, evaluate


@dataclass(frozen=True)
class CellOptions:
    """How a cell is measured.

    Args:
        episodes: of each evaluation.
        pairs: paired observations that a translation is fitted on, at most.
        seed: random seed of pairs and episodes.
        greedy: take the most likely action instead of a sampled one.

    Raises:
        InvalidInputError: for fewer than one episode or pair, or a negative seed.
    """

    episodes: int = 100
    pairs: int = 1024
    seed: int = 0
    greedy: bool = False

    def __post_init__(self) -> None:
        check_counts(episodes=self.episodes, pairs=self.pairs)
        check_seed(self.seed)

    def evaluate(self, agent: Actor, world: World | None = None, *, on_progress: OnProgress = silent) -> Evaluation:
        """Evaluate an agent in a world (None: the agent's own) with these options."""
        return evaluate(
            agent, world, episodes=self.episodes, seed=self.seed, deterministic=self.greedy, on_progress=on_progress
        )
