"""Films of agents, side by side, as MP4 and GIF."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rlstitch.agents.agent import Agent
from rlstitch.rollouts.panels import side_by_side
from rlstitch.rollouts.video import record, write_gif, write_mp4

_FPS = 6
_FRAMES = 180  # half a minute: an agent that never arrives would be filmed for ever


def film_side_by_side(
    shown: Sequence[tuple[str, Agent]], path: Path, *, episodes: int = 3, seed: int = 0, deterministic: bool = False
) -> list[Path]:
    """Film agents on the same episodes, one panel each, and write `<path>.mp4` and `<path>.gif`.

    Args:
        shown: captions and agents; each plays in its own world.
        path: without suffix.
        episodes: how many, one after the other.
        seed: of the episodes.
        deterministic: greedy actions instead of sampled ones.
    """
    panels = [record(agent, episodes=episodes, seed=seed, deterministic=deterministic).frames for _, agent in shown]
    frames = side_by_side([panel[:_FRAMES] for panel in panels], [caption for caption, _ in shown])
    movie, animation = path.with_name(path.name + ".mp4"), path.with_name(path.name + ".gif")
    write_mp4(frames, movie, fps=_FPS)
    write_gif(frames, animation, fps=_FPS)
    return [movie, animation]
