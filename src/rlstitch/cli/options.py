"""Options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from tyro.conf import Positional, UseAppendAction, arg

from rlstitch.cli.console import fill, split_names

if TYPE_CHECKING:
    from rlstitch.envs import World

Threads = Annotated[
    int | None,
    arg(
        metavar="NUMBER",
        help="Torch threads.",
        help_behavior_hint="(default: OMP_NUM_THREADS, else as many as pay for the network: one for small ones)",
    ),
]


GymPackages = Annotated[tuple[str, ...], arg(metavar="MODULE", help_behavior_hint="(default: none)")]
"""Modules that `rlstitch.cli.main` imports before a command runs; the option has the name it has in RL-Zoo3."""


MakeKwargs = Annotated[
    tuple[tuple[str, ...], ...], UseAppendAction, arg(metavar="KEY=VALUE", help_behavior_hint="(default: none)")
]


LookKwargs = Annotated[str, arg(metavar="KEY,...", help_behavior_hint="(default: none)")]


@dataclass(frozen=True, kw_only=True)
class EnvironmentOptions:
    """An environment beside the agents' own, and what it needs."""

    env: Annotated[str | None, arg(metavar="[MODULE:]ID", help_behavior_hint="(default: the agent's own)")] = None
    """Another environment, by its Gymnasium id, after the module that registers it where that is one of your own."""
    make_kwargs: MakeKwargs = ()
    """Keyword arguments of gymnasium.make."""
    look_kwargs: LookKwargs = ""
    """Those of them, or of the agents' own, that change only what is seen: each agent keeps its own."""
    gym_packages: GymPackages = ()
    """Modules of your own to import, which register environments."""

    def environment(self) -> World | dict[str, object] | None:
        """Return what the functions of `rlstitch.api` take as `env`: a world, or other arguments of the agent's own."""
        fields: dict[str, object] = {"make_kwargs": pairs_of(self.make_kwargs)} if self.make_kwargs else {}
        if self.look_kwargs:
            fields["look_kwargs"] = split_names(self.look_kwargs)
        if self.env is None:
            return fields or None
        from rlstitch.envs import as_world

        return as_world(self.env, **fields)


def pairs_of(groups: tuple[tuple[str, ...], ...]) -> dict[str, object]:
    """Return the values of texts `key=value`; raises as `rlstitch.config.training.parse_overrides`."""
    from rlstitch.config.training import parse_overrides

    return parse_overrides(item for group in groups for item in group)


@dataclass(frozen=True, kw_only=True)
class EncoderAndPolicy:
    """Two agents that are to be joined, by position or by option."""

    SEVERAL: ClassVar[str] = "agents"
    """The argument that takes several values, between options too."""

    agents: Annotated[
        Positional[tuple[str, ...]], arg(metavar="ENCODER POLICY", help_behavior_hint="(or those options)")
    ] = ()
    """Two agents, instead of --encoder and --policy."""
    encoder: Annotated[str | None, arg(metavar="AGENT", help_behavior_hint="(or the first argument)")] = None
    """Agent that gives the encoder, and the look of the world."""
    policy: Annotated[
        str | None, arg(metavar="AGENT", aliases=("--controller",), help_behavior_hint="(or the second argument)")
    ] = None
    """Agent that gives the controller, and the task."""

    def names(self) -> tuple[str, str]:
        """Return the agent of the encoder and the agent of the controller.

        Raises:
            InvalidInputError: where there are too many or too few.
        """
        return fill(self.agents, encoder=self.encoder, policy=self.policy)
