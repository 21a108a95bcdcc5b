"""Write an agent as one file, for another program or another place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rlstitch.agents import Agent, half_precision, load_agent, save_agent
from rlstitch.agents.export import SUFFIXES, Format, Input, greatest_difference, write_exported
from rlstitch.api.environment import AgentLike, placed
from rlstitch.envs import is_image, make_vec
from rlstitch.errors import require_known
from rlstitch.jobs.progress import ProgressReporter

_SEEN = 24
_NOISE = 8


@dataclass(frozen=True)
class ExportOutcome:
    """An exported agent. Its text is what the command prints."""

    path: Path
    difference: float
    compared: int

    def __str__(self) -> str:
        files = list(self.path.iterdir()) if self.path.is_dir() else [self.path]
        size = sum(file.stat().st_size for file in files) / 2**20
        return (
            f"{'agent ' if self.path.is_dir() else 'file  '}   {self.path} ({size:.1f} MB)\n"
            f"checked  on {self.compared} observations: greatest difference {self.difference:.2g}"
        )


def export_agent(
    agent: AgentLike,
    *,
    env: Any = None,
    form: Format | Literal["half"] = "torch-export",
    output: Path | None = None,
    observations: Input = "uint8",
    force: bool = False,
    progress: ProgressReporter | None = None,
) -> ExportOutcome:
    """Write an agent as one file, read back and compared with the agent; or as an agent in half precision.

    Args:
        agent: name, folder or value of an agent of any kind.
        env: another environment than the agent's own, whose observations the exported agent is compared on: its id
            (`module:Id` imports the module), or an object, see `rlstitch.envs.as_world`.
        form: `torch-export`, `onnx` or `safetensors`; see `rlstitch.agents.export.write_exported`. `half`: an agent
            whose weights are rounded to float16; its difference is stated, and has no limit.
        output: the file, the agent's name in the working folder where it is not given; or the folder of the agent,
            `agents/NAME-half`.
        observations: what the exported program takes: uint8 `(N, H, W, C)`, or float32 `(N, C, H, W)` in [0, 1].
        force: replace a file, or an agent.
        progress: shows how far each stage of the work is; None: nothing is shown.

    Raises:
        UnknownNameError: for an unknown agent or form.
        MissingExtraError: `onnx` without the packages of this extra.
        InvalidInputError: where the file is there already.
        ArtefactError: where the operating system refuses, or the exported agent acts otherwise.
    """
    require_known("export format", form, (*SUFFIXES, "half"))
    source = placed(agent, env)
    name = source.card.name
    path = output or (Path("agents", f"{name}-half") if form == "half" else Path(f"{name}{SUFFIXES[form]}"))
    progress = progress or ProgressReporter(style="none")
    if form == "half":
        save_agent(half_precision(source), path, force=force)
    progress.stage("collecting observations")
    images = _observations(source)
    progress.stage("exporting, reading back and comparing")
    if form == "half":
        return ExportOutcome(path, greatest_difference(source, load_agent(path), images), len(images))
    difference = write_exported(source, path, form=form, images=images, observations=observations, force=force)
    return ExportOutcome(path, difference, len(images))


def _observations(agent: Agent) -> NDArray[Any]:
    """Observations `(n, ...)` from episodes of random actions in the agent's world, and some of noise."""
    environments = make_vec(agent.card.world, 4, seed=0)
    space = environments.single_action_space
    try:
        seen, _ = environments.reset(seed=0)
        batches = [seen]
        while 4 * len(batches) < _SEEN:
            batches.append(environments.step(np.stack([space.sample() for _ in range(4)]))[0])
    finally:
        environments.close()
    rng, shape = np.random.default_rng(0), (_NOISE, *agent.encoder.observation_shape)
    noise = rng.integers(0, 256, shape, dtype=np.uint8) if is_image(shape[1:]) else rng.normal(size=shape)
    return np.concatenate([*batches, noise.astype(seen.dtype)])
