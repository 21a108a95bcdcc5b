"""Collect the pairs of two agents into a file, to look at, to mend, or to stitch by later."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlstitch.api.environment import AgentLike, placed
from rlstitch.envs import is_image
from rlstitch.errors import InvalidInputError
from rlstitch.jobs.progress import ProgressReporter
from rlstitch.jobs.resources import torch_threads
from rlstitch.stitching.pair_files import write_pairs
from rlstitch.stitching.pairs import gather_images
from rlstitch.storage.workspace import require_new_file


@dataclass(frozen=True)
class PairsOutcome:
    """What was written. Its text is what the command prints."""

    path: Path
    count: int
    x_shape: tuple[int, ...]
    y_shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.path}: {self.count} pairs of distinct views, x {self.x_shape}, y {self.y_shape}"


@torch_threads()
def collect_pairs(
    encoder: AgentLike,
    policy: AgentLike,
    out: str | Path,
    *,
    env: Any = None,
    count: int = 1024,
    seed: int = 0,
    force: bool = False,
    progress: ProgressReporter | None = None,
) -> PairsOutcome:
    """Collect views of the world of a cell as both agents see them, and write them as a file of pairs.

    The file holds the images that an agent sees; of one that observes vectors its latents.

    Args:
        encoder: name, folder or value of the agent whose encoder is to be used: it sees `x`.
        policy: name, folder or value of the agent whose controller is to be used: it sees `y`.
        out: file to write, `.npz`.
        env: another environment than the agents' own: its id (`module:Id` imports the module), or an object, see
            `rlstitch.envs.as_world`.
        count: distinct views, at most.
        seed: of the rollouts.
        force: replace a file of that name.
        progress: shows how far each stage of the work is; None: nothing is shown.

    Raises:
        UnknownNameError: for an unknown agent.
        IncompatibleError: where the two have no common world.
        InvalidInputError: for another suffix, a count below 1, or a file that is there already.
    """
    path = Path(out)
    if path.suffix != ".npz":
        raise InvalidInputError(f"out: expected a file name that ends in .npz, found {str(path)!r}")
    require_new_file(path, force=force)
    source = placed(encoder, env)
    target = placed(policy, env)
    progress = progress or ProgressReporter(style="none")
    collecting = progress.stage("collecting pairs", "steps")
    x, y = gather_images(source, target, count=count, seed=seed, on_progress=collecting)
    progress.stage(f"writing {path.name}")
    x, y = (
        views if is_image(views.shape[1:]) else agent.encode(views).cpu().numpy()
        for agent, views in ((source, x), (target, y))
    )
    return PairsOutcome(write_pairs(path, x, y), len(x), x.shape[1:], y.shape[1:])
