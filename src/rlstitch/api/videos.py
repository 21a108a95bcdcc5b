"""The video that a command writes beside its results, which stand without it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rlstitch.agents import Agent
from rlstitch.errors import RlstitchError
from rlstitch.jobs.progress import ProgressReporter
from rlstitch.rollouts.video import video_side_by_side
from rlstitch.storage import VIDEOS


def try_video(
    shown: Sequence[tuple[str, Agent]], name: str, *, seed: int, deterministic: bool, progress: ProgressReporter
) -> tuple[list[Path], str]:
    """Write `videos/<name>.mp4` and `.gif` of agents side by side.

    Args:
        shown: captions and agents; each plays in its own world.
        name: of the files.
        seed: of the episodes.
        deterministic: greedy actions instead of sampled ones.
        progress: shows how many of the episodes are drawn.

    Returns:
        The files, or none and why there are none.
    """
    drawing = progress.stage("video", "episodes")
    try:
        return video_side_by_side(shown, VIDEOS / name, seed=seed, deterministic=deterministic, on_progress=drawing), ""
    except RlstitchError as error:
        return [], str(error)


def video_lines(videos: Sequence[Path], problem: str) -> list[str]:
    """Return what a command prints of its video: the paths, or why there is none."""
    return [f"video    {path}" for path in videos] + [f"video    not made: {problem}"] * bool(problem)
