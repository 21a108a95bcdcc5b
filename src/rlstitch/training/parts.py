"""Parts of agents that a training starts from, and what these must have in common with its world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rlstitch.agents import (
    Agent,
    AnyActions,
    BoxActions,
    ControllerSpec,
    DiscreteActions,
    ParentCard,
    RelativeEncoder,
    as_agent,
    parent_card,
    parse_controller_spec,
)
from rlstitch.config.training import StartConfig, TrainConfig
from rlstitch.envs import Shape, describe_shape, with_sensor
from rlstitch.errors import IncompatibleError, InvalidInputError

# Fields of a world that shape what is observed; an encoder that is trained on can learn another look.
_OBSERVED = ("look", "keys", "view", "tile_size", "frame_stack", "padding", "size", "crop")


@dataclass(frozen=True)
class Parts:
    """The agents that give an encoder and a controller to start from; None: fresh weights."""

    encoder: Agent | None = None
    controller: Agent | None = None
    freeze: Literal["encoder", "controller"] | None = None
    """The part that keeps its weights."""

    @property
    def parents(self) -> tuple[ParentCard, ...]:
        """What the card of the trained agent says of them."""
        given = (("encoder", self.encoder), ("controller", self.controller))
        return tuple(parent_card(agent, role) for role, agent in given if agent is not None)  # type: ignore[arg-type]

    @property
    def method(self) -> str | None:
        """How the trained agent came by its parts; None where both began with fresh weights."""
        if self.freeze is not None:
            return f"frozen {self.freeze}"
        return "fine-tuned" if self.parents else None

    @property
    def latent_dim(self) -> int | None:
        """Width of the latents where encoder and controller meet; None where no part decides it."""
        if self.encoder is not None:
            return self.encoder.encoder.latent_dim
        return None if self.controller is None else self.controller.controller.latent_dim

    def check(self, config: TrainConfig, observation_shape: Shape, actions: AnyActions) -> None:
        """Check that the parts fit the world of a training.

        Args:
            config: of the training.
            observation_shape: of the world's observations.
            actions: of the world.

        Raises:
            IncompatibleError: where observations or actions differ.
            InvalidInputError: where PPO cannot train or use a controller, or the representation is not that of the
                encoder.
        """
        environment = config.world.environment
        if self.encoder is not None:
            own, name = self.encoder.card, f"start.encoder: agent {self.encoder.card.name!r}"
            seen, shown = with_sensor(own.world).sensor, with_sensor(config.world).sensor
            if (seen, tuple(own.observation_shape)) != (shown, tuple(observation_shape)):
                raise IncompatibleError(
                    f"{name} observes {seen} of {describe_shape(own.observation_shape)}, the world {environment} shows "
                    f"{shown} of {describe_shape(observation_shape)}"
                )
            if config.representation == "relative" and not isinstance(self.encoder.encoder, RelativeEncoder):
                raise InvalidInputError(f"{name} is absolute, expected a relative one for representation relative")
        if self.controller is not None:
            name, spec = f"start.controller: agent {self.controller.card.name!r}", self.controller.controller.spec()
            if self.controller.controller.actions != actions:
                raise IncompatibleError(
                    f"{name} gives the actions {_describe(self.controller.controller.actions)}, the world "
                    f"{environment} takes {_describe(actions)}"
                )
            if missing := _untrainable(parse_controller_spec(spec)):
                raise InvalidInputError(f"{name}: PPO needs {missing}")

    def differences(self, config: TrainConfig) -> str:
        """Return in words what the encoder's agent saw otherwise than the world of a training; empty where nothing."""
        if self.encoder is None:
            return ""
        own = self.encoder.card.world
        changed = [name for name in _OBSERVED if getattr(own, name) != getattr(config.world, name)]
        return ", ".join(f"{name} {getattr(own, name)} (here {getattr(config.world, name)})" for name in changed)


NO_PARTS = Parts()


def _untrainable(spec: ControllerSpec) -> str:
    """Return in words what PPO needs and a controller has not; empty where nothing."""
    needs = {
        "a value head": spec.value == "head",
        "a temperature of 1": spec.temperature == 1.0,
        "actions that are not squashed": not spec.squash,
        "a standard deviation that is a parameter": spec.std == "parameter",
    }
    return next((words for words, given in needs.items() if not given), "")


def _describe(actions: AnyActions) -> str:
    if isinstance(actions, BoxActions):
        return f"Box({list(actions.low)}, {list(actions.high)})"
    if isinstance(actions, DiscreteActions):
        return f"Discrete({actions.n})"
    return f"{actions.kind} of {actions.width} numbers"


def load_parts(start: StartConfig) -> Parts:
    """Read the agents of a config's section `start`.

    Raises:
        UnknownNameError: for an unknown agent.
        ArtefactError: where one cannot be read.
    """
    encoder, controller = (None if name is None else as_agent(name) for name in (start.encoder, start.controller))
    return Parts(encoder, controller, start.freeze)
