"""Options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from tyro.conf import Positional, arg

from rlstitch.cli.console import fill

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
