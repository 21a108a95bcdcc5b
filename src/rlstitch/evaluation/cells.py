"""Measure cells beside their baselines: random, naive and native stand in every table."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from rlstitch.agents.agent import Agent
from rlstitch.envs import World, cell_world, make_vec
from rlstitch.errors import IncompatibleError
from rlstitch.evaluation.row import Row, describe
from rlstitch.rollouts.actors import RandomAgent
from rlstitch.rollouts.evaluation import Evaluation, evaluate
from rlstitch.rollouts.statistics import recovery
from rlstitch.stitching.diagnosis.held_out import StitchReport
from rlstitch.stitching.pairs import LatentPairs
from rlstitch.stitching.stitch import Stitch, stitch_agents


@dataclass
class Measure:
    """Evaluates with one number of episodes, one seed and one kind of policy; keeps what it has evaluated already."""

    episodes: int = 100
    seed: int = 0
    deterministic: bool = False
    _known: dict[tuple[str, World], Evaluation] = field(default_factory=dict)

    def native(self, agent: Agent) -> Evaluation:
        """Evaluate an agent in its own world."""
        return self._evaluate(agent.card.name, agent, agent.card.world.to_world())

    def random(self, world: World) -> Evaluation:
        """Evaluate random actions in a world; they see nothing, so the look does not matter."""
        plain = replace(world, variation="standard")
        if ("random", plain) in self._known:
            return self._known["random", plain]
        environments = make_vec(plain, 1, seed=0)
        actions = environments.single_action_space
        environments.close()
        return self._evaluate("random", RandomAgent(actions), plain)

    def _evaluate(self, name: str, agent: Agent | RandomAgent, world: World) -> Evaluation:
        if (name, world) not in self._known:
            self._known[name, world] = evaluate(
                agent, world, episodes=self.episodes, seed=self.seed, deterministic=self.deterministic
            )
        return self._known[name, world]

    def native_cell(self, agent: Agent) -> Row:
        """Return the row of an agent in its own world."""
        return _cell(agent.card.name, agent.card.name, "native", self.native(agent))

    def random_cell(self, world: World) -> Row:
        """Return the row of random actions."""
        return _cell("–", "–", "random", self.random(world))

    def stitched_cell(
        self, encoder: Agent, policy: Agent, stitched: Agent, method: str, report: StitchReport | None
    ) -> Row:
        """Return the row of a stitched agent, with its recovery between random actions and the native controller."""
        world = cell_world(encoder.card.world.to_world(), policy.card.world.to_world())
        outcome = evaluate(stitched, world, episodes=self.episodes, seed=self.seed, deterministic=self.deterministic)
        against = (self.random(world).returns, self.native(policy).returns)
        return _cell(encoder.card.name, policy.card.name, method, outcome, report=report, against=against)

    def naive_cell(self, encoder: Agent, policy: Agent, pairs: LatentPairs) -> Row | None:
        """Return the row of the naive combination; None where the widths do not fit, so that there is none."""
        try:
            naive = stitch_agents(encoder, policy, pairs, method="naive")
        except IncompatibleError:
            return None
        return self.stitched_cell(encoder, policy, naive.agent, "naive", naive.report)

    def cells(self, encoder: Agent, policy: Agent, stitch: Stitch, pairs: LatentPairs) -> list[Row]:
        """Return a stitched agent's row under those of its baselines: random, native, naive."""
        world = cell_world(encoder.card.world.to_world(), policy.card.world.to_world())
        rows = [self.random_cell(world), self.native_cell(policy)]
        # With nothing in between, relative stitching *is* the naive combination of two agents that speak one language.
        alike = stitch.report.method in ("naive", "relative")
        naive = None if alike else self.naive_cell(encoder, policy, pairs)
        rows += [] if naive is None else [naive]
        return [*rows, self.stitched_cell(encoder, policy, stitch.agent, stitch.report.method, stitch.report)]


def _cell(
    encoder: str,
    controller: str,
    method: str,
    outcome: Evaluation,
    *,
    report: StitchReport | None = None,
    against: tuple[object, object] | None = None,
) -> Row:
    summary = outcome.summary()
    recovered = None
    if against is not None:
        random, native = against
        recovered = recovery(outcome.returns, random, native)  # type: ignore[arg-type]
    success = summary.success
    return Row(
        encoder=encoder,
        controller=controller,
        method=method,
        world=describe(outcome.world),
        episodes=outcome.episodes,
        return_mean=summary.mean.estimate,
        return_low=summary.mean.low,
        return_high=summary.mean.high,
        recovery=None if recovered is None else recovered.estimate,
        recovery_low=None if recovered is None else recovered.low,
        recovery_high=None if recovered is None else recovered.high,
        success=None if success is None else success.estimate,
        success_low=None if success is None else success.low,
        success_high=None if success is None else success.high,
        length_mean=float(outcome.lengths.mean()),
        policy="greedy" if outcome.deterministic else "sampled",
        diagnostics=None if report is None else report.to_dict(),
    )
