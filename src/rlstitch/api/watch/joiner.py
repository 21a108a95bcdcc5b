"""The agents that can be watched with one controller; each is loaded and fitted once, for all viewers."""

from __future__ import annotations

from typing import Any, Protocol

from rlstitch.agents import Agent, list_agents
from rlstitch.api.environment import placed
from rlstitch.envs import World, cell_world, family_of, with_sensor
from rlstitch.errors import RlstitchError, require_known
from rlstitch.jobs.progress import OnProgress
from rlstitch.stitching.methods import known_methods
from rlstitch.stitching.pairs import LatentPairs, gather_pairs
from rlstitch.stitching.stitch import check_method, stitch_agents


class Stages(Protocol):
    """What shows the stages of some work: `rlstitch.jobs.progress.ProgressReporter` has it."""

    def stage(self, name: str, unit: str = "") -> OnProgress:
        """Begin a stage, and return what takes its units done and those in all."""


class Joiner:
    """Joins encoders to one controller, by their names. It is used by one thread at a time.

    Args:
        policy: the agent of the controller.
        env: another environment than the agents' own, as in `rlstitch.stitch`.
        seed: of the pairs.
    """

    def __init__(self, policy: Agent, env: Any = None, *, seed: int = 0) -> None:
        self.policy, self._env, self._seed = policy, env, seed
        self._encoders = {policy.card.name: policy}
        self._pairs: dict[str, LatentPairs] = {}
        self._joined: dict[tuple[str, str], Agent] = {}

    def add(self, encoder: Agent) -> str:
        """Add an agent whose encoder can be chosen beside those that are found by name; return its name here."""
        name = encoder.card.name + " (encoder)" * (encoder.card.name in self._encoders)
        self._encoders[name] = encoder
        return name

    def encoders(self) -> list[str]:
        """Return the names of agents that have a world in common with the controller's, that one first."""
        own = self.policy.card.name
        worlds = {entry.name: entry.card.world for entry in list_agents() if entry.card is not None}
        worlds |= {name: agent.card.world for name, agent in dict(self._encoders).items()}
        return [own, *sorted(name for name, world in worlds.items() if name != own and self._suits(world))]

    def _suits(self, world: World) -> bool:
        own = self.policy.card.world
        try:
            return with_sensor(world).sensor in family_of(own).sensors_of(own) and bool(cell_world(world, own))
        except RlstitchError:
            return False

    def join(self, encoder: str, method: str, progress: Stages) -> Agent:
        """Return the controller's agent with the encoder of another, or as it is where the encoder is its own.

        Args:
            encoder: name of an agent, of `encoders()`.
            method: name of a stitching method, of `rlstitch.stitching.methods.known_methods()`.
            progress: shows the stages of the work.

        Raises:
            UnknownNameError: for another name.
            IncompatibleError, InvalidInputError: where the two cannot be joined by the method, as `rlstitch.stitch`.
        """
        if encoder == self.policy.card.name:
            return self.policy
        if (encoder, method) not in self._joined:
            self._joined[encoder, method] = self._fitted(encoder, method, progress)
        return self._joined[encoder, method]

    def _fitted(self, encoder: str, method: str, progress: Stages) -> Agent:
        if encoder not in self._encoders:
            require_known("agent", encoder, self.encoders())
            self._encoders[encoder] = placed(encoder, self._env)
        source = self._encoders[encoder]
        require_known("stitching method", method, known_methods())  # nothing is imported because a page says so
        check_method(source, self.policy, method)
        if encoder not in self._pairs:
            collecting = progress.stage("collecting pairs", "steps")
            self._pairs[encoder] = gather_pairs(
                source, self.policy, pairs=None, seed=self._seed, on_progress=collecting
            )
        progress.stage(f"fitting {method}")
        return stitch_agents(source, self.policy, self._pairs[encoder], method=method).agent
