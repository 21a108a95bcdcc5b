"""Fit a new encoder for a frozen controller, in rounds, as DAgger does (Ross, Gordon and Bagnell, arXiv:1011.0686).

In the first round the controller's own agent plays. In each later one the new encoder drives the controller, its states
are observed by the agent's own sensor, too, and the encoder is fitted again on all states so far. Rewards are not used:
returns are reported only.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from pydantic import TypeAdapter, ValidationError

from rlstitch.agents import Agent, AgentCard, CNNSpec, CropSpec, MLPSpec, parent_card
from rlstitch.envs import Observations, World, is_image, make_vec
from rlstitch.envs.replay import Episode
from rlstitch.errors import ArtefactError, InvalidInputError, require_known
from rlstitch.jobs.progress import OnProgress, silent
from rlstitch.rollouts.evaluation import check_counts
from rlstitch.stitching.graft.fit import Divergence, EncoderFit, HeldOutFit, held_out_fit
from rlstitch.stitching.graft.states import STRAY_FIRST, STRAY_LATER, States, mean_return, pair_states, play_states
from rlstitch.storage import first_problem, read_json, read_tensors, staged_folder, write_json, write_tensors

METHOD = "grafted (distilled)"
"""Of the card: the encoder was fitted for this controller, so that the agent is not stitched zero-shot."""


@dataclass(frozen=True)
class Grafting:
    """How an encoder is fitted.

    Args:
        rounds: of playing and fitting.
        states: steps that are played, in all rounds together.
        steps: of the optimizer, in all rounds together; the last round takes half of them.
        learning_rate: of Adam at the first step of a round; it decays to 0 by a cosine.
        latent_weight: of the errors of latents; 0: actions alone.
        action_weight: of the divergence of actions; 0: latents alone.
        divergence: direction of the KL divergence of actions, as `EncoderFit.train` has it.
        arch: of an encoder of images: convolutions, `small` or `nature`, or `crop`, squares around an object.
        hidden: widths of the hidden layers of an encoder of vectors.
        seed: of episodes, first weights and batches.
    """

    rounds: int = 4
    states: int = 20_000
    steps: int = 6_000
    learning_rate: float = 1e-3
    latent_weight: float = 1.0
    action_weight: float = 1.0
    divergence: Divergence = "forward"
    arch: str = "small"
    hidden: tuple[int, ...] = (64, 64)
    seed: int = 0

    def __post_init__(self) -> None:
        check_counts(rounds=self.rounds, states=self.states, steps=self.steps)
        for name in ("states", "steps"):
            if getattr(self, name) < 2 * self.rounds:
                raise InvalidInputError(f"{name}: expected two a round or more, found {getattr(self, name)}")
        for name in ("latent_weight", "action_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidInputError(f"{name}: expected 0 or a number above, found {getattr(self, name)}")
        require_known("divergence", self.divergence, get_args(Divergence))
        if not self.latent_weight and not self.action_weight:
            raise InvalidInputError("latent_weight and action_weight: expected one above 0, found 0 for both")

    def steps_of(self, number: int) -> int:
        """Return the steps of the optimizer in a round, the first being 0."""
        if self.rounds == 1:
            return self.steps
        return self.steps // 2 if number == self.rounds - 1 else self.steps // (2 * self.rounds - 2)


@dataclass(frozen=True)
class GraftRound:
    """What a round came to."""

    states: int
    """States so far, fitted on and held out."""
    fit: HeldOutFit
    return_mean: float | None = None
    """Mean return of the episodes that the new encoder then drove to their end; None before it drives."""
    episodes: int = 0


_SAVED = TypeAdapter(tuple[list[GraftRound], list[list[Episode]]])


class Graft:
    """A graft: its rounds so far, and the encoder that is being fitted.

    Args:
        policy: the agent that gives the controller.
        world: in which the new encoder is to drive it: the policy's but for what shapes observations.
        how: rounds, states and steps.
        name: of the grafted agent.
    """

    def __init__(self, policy: Agent, world: World, how: Grafting, *, name: str) -> None:
        self.policy, self.world, self.how = policy, world, how
        self.rounds: list[GraftRound] = []
        self._card = _card(policy, world, how, name)
        self._fit = EncoderFit(self._card.encoder, world.frame_stack, how.seed)
        self._episodes: list[list[Episode]] = []
        self._states: States | None = None

    def agent(self) -> Agent:
        """Return the grafted agent as it is now."""
        return Agent(self._fit.finished(), copy.deepcopy(self.policy.controller), self._card)

    @property
    def finished(self) -> bool:
        """Whether all rounds are done."""
        return len(self.rounds) == self.how.rounds

    def next_round(self, stage: Callable[[str, str], OnProgress] = lambda name, unit: silent) -> None:
        """Play, and fit the encoder on all states so far.

        Args:
            stage: returns what reports the progress of a stage, of its name and unit.

        Raises:
            InvalidInputError: where the environment is not deterministic.
        """
        number, how = len(self.rounds), self.how
        title = f"round {number + 1} of {how.rounds}"
        played = list(
            play_states(
                self.agent() if number else self.policy,
                -(-how.states // how.rounds),
                strays=STRAY_LATER if number else STRAY_FIRST,
                seed=how.seed,
                first=sum(map(len, self._episodes)),
                on_progress=stage(f"{title}: playing", "states"),
            )
        )
        if number:
            mean, count = mean_return(played)
            self.rounds[-1] = dataclasses.replace(self.rounds[-1], return_mean=mean, episodes=count)
        observing = stage(f"{title}: observing by the other sensor", "episodes")
        states = self._observed([one.episode for one in played], [one.observations for one in played], observing)
        taken = self._fit.taken(states)
        self._fit.train(
            taken,
            self.policy.controller,
            steps=how.steps_of(number),
            learning_rate=how.learning_rate,
            weights=(how.latent_weight, how.action_weight),
            divergence=how.divergence,
            seed=int(np.random.SeedSequence((how.seed, number)).generate_state(1)[0]),
            on_progress=stage(f"{title}: fitting", "steps"),
        )
        self.rounds.append(
            GraftRound(len(states), held_out_fit(self._fit.latents(taken), taken, self.policy.controller))
        )

    def save(self, folder: Path) -> None:
        """Write what `load` continues from: whole or not at all."""
        with staged_folder(folder, force=True) as stage:
            write_tensors(stage / "encoder.safetensors", self._fit.encoder.state_dict())
            write_json(stage / "rounds.json", _SAVED.dump_python((self.rounds, self._episodes), mode="json"))

    def load(self, folder: Path) -> None:
        """Continue where a graft of the same agent and options was saved; its episodes are played again.

        Raises:
            ArtefactError: where it cannot be read.
        """
        try:
            rounds, episodes = _SAVED.validate_python(read_json(folder / "rounds.json"))
        except ValidationError as error:
            raise ArtefactError(f"{folder / 'rounds.json'}: {first_problem(error)}") from None
        for played in episodes:
            self._observed(played)
        try:
            self._fit.encoder.load_state_dict(read_tensors(folder / "encoder.safetensors")[0])
        except RuntimeError:
            raise ArtefactError(f"{folder}: its weights are those of another encoder") from None
        self.rounds = rounds

    def _observed(
        self, episodes: list[Episode], seen: Sequence[Observations] = (), on_progress: OnProgress = silent
    ) -> States:
        """Take a round's episodes, and return the states of all rounds."""
        by = self.world if self._episodes else self.policy.card.world
        first = sum(map(len, self._episodes))
        states = pair_states(self.policy, self.world, episodes, seen, by=by, first=first, on_progress=on_progress)
        if self._states is None:
            self._fit.prepare(states)
        self._states = states if self._states is None else States.joined([self._states, states])
        self._episodes.append(episodes)
        return self._states


def _card(policy: Agent, world: World, how: Grafting, name: str) -> AgentCard:
    with closing(make_vec(world, 1, seed=0)) as environment:
        shape = environment.single_observation_space.shape or ()
    width = {"latent_dim": policy.encoder.latent_dim}
    spec: CNNSpec | CropSpec | MLPSpec
    if is_image(shape) and how.arch == "crop":
        spec = CropSpec.model_validate({"image_shape": shape, "frames": world.frame_stack, **width})
    elif is_image(shape):
        spec = CNNSpec.model_validate({"arch": how.arch, "image_shape": shape, **width})
    else:
        spec = MLPSpec.model_validate({"observation_shape": shape, "hidden": how.hidden, **width})
    return policy.card.model_copy(
        update={
            "name": name,
            "world": world,
            "seed": how.seed,
            "observation_shape": shape,
            "encoder": spec.model_dump(mode="json"),
            "controller": policy.controller.spec(),
            "anchors": None,
            "training": None,
            "method": METHOD,
            "parents": (parent_card(policy, "controller"),),
        }
    )
