"""`rlstitch relativize`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from rlstitch.cli.console import say, split_names


@dataclass(frozen=True, kw_only=True)
class Relativize:
    """Make a trained agent relative: its encoder stays, its controller is distilled on to similarities to anchors."""

    agent: Annotated[Positional[str], arg(metavar="AGENT")]
    """Name or folder of the agent."""
    anchors: Annotated[str, arg(metavar="SET|NUMBER")] = "512"
    """An anchor set (identity or folder), or how many anchors to choose."""
    drivers: Annotated[str, arg(metavar="AGENT,...")] = ""
    """Who plays, beside random actions, where anchors are chosen; name the same ones for both agents of a stitch."""
    similarity: Annotated[str | None, arg(metavar="NAME")] = None
    """Of latents and anchors, several joined by +; gaussian on 256 anchors or more, cosine on fewer where not given."""
    episodes: Annotated[int, arg(metavar="NUMBER")] = 100
    """Episodes of the evaluations before and after."""
    seed: Annotated[int, arg(metavar="NUMBER")] = 0
    """Seed of the states, the distillation and the episodes."""
    name: Annotated[str | None, arg(metavar="NAME")] = None
    """Name of the relative agent; the agent's with -relativized where not given."""
    save: bool = True
    """Keep the relative agent and its anchor set."""
    force: bool = False
    """Replace an agent of the same name."""

    def run(self) -> int:
        """Relativize, and print how the relative agent does beside the one it came from."""
        from rlstitch.api.relativize import relativize

        result = relativize(
            self.agent,
            anchors=self.anchors,
            drivers=split_names(self.drivers),
            similarity=self.similarity,
            episodes=self.episodes,
            seed=self.seed,
            name=self.name,
            save=self.save,
            force=self.force,
        )
        say(result)
        return 0
