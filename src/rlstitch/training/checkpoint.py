"""Checkpoints of a training: weights, optimizer and counters, without pickle; and the seeds that make a resume exact.

A resumed training equals an uninterrupted one because *both* draw new seeds and reset their environments at every
checkpoint, from (seed, checkpoint number): nothing about generators or environments needs to be stored.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ConfigDict, TypeAdapter
from stable_baselines3 import PPO
from stable_baselines3.common.utils import set_random_seed
from torch import Tensor

from rlstitch.errors import ArtefactError
from rlstitch.storage import printable, read_json, read_tensors, staged_folder, write_json, write_tensors
from rlstitch.storage.staging import recover, remove_folder

SCHEMA_VERSION = 1
_KEEP = 2  # the newest checkpoint and the one before it


@dataclass
class TrainingState:
    """How far a training is: what a checkpoint holds beside the weights, and what callbacks share."""

    __pydantic_config__ = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    number: int = 0
    """Number of the checkpoint; the seeds of the stretch that follows derive from it."""
    steps: int = 0
    updates: int = 0
    seconds: float = 0.0
    best_score: tuple[float, float] | None = None
    """Success rate and mean return of the best evaluation so far."""
    best_steps: int = 0
    history: list[dict[str, int | float | None]] = field(default_factory=list)
    """One row an evaluation: steps, return, success (None where the world knows none), length."""
    best: dict[str, Tensor] | None = field(default=None, repr=False)
    """Weights of the best evaluation."""

    def reached(self, success: float | None, patience: int) -> bool:
        """Return whether the last `patience` evaluations all reached a success rate (None: never)."""
        recent = self.history[-patience:]
        return success is not None and len(recent) == patience and all((r["success"] or 0.0) >= success for r in recent)


def reseed(model: PPO, seed: int, number: int) -> None:
    """Seed every generator and reset every environment from (seed, checkpoint number)."""
    stretch = int(np.random.SeedSequence([seed, number]).generate_state(1)[0]) // 2
    set_random_seed(stretch, using_cuda=model.device.type == "cuda")
    environments = model.get_env()
    if environments is None:
        raise ArtefactError("the model has no environments to reseed")
    environments.seed(stretch)
    model._last_obs = environments.reset()
    model._last_episode_starts = np.ones(environments.num_envs, dtype=bool)


def save_checkpoint(model: PPO, folder: Path, state: TrainingState) -> None:
    """Write `folder/<steps>`: whole or not at all; older checkpoints but one are removed."""
    target = folder / f"{state.steps:012d}"
    with staged_folder(target, force=True) as stage:
        policy = {name: value for name, value in model.policy.state_dict().items() if not _is_alias(name)}
        write_tensors(stage / "policy.safetensors", policy)
        write_tensors(stage / "optimizer.safetensors", _flatten_optimizer(model.policy.optimizer))
        if state.best is not None:
            write_tensors(stage / "best.safetensors", state.best)
        record = {item.name: getattr(state, item.name) for item in fields(state) if item.name != "best"}
        write_json(stage / "progress.json", record, schema_version=SCHEMA_VERSION)
    for old in list_checkpoints(folder)[:-_KEEP]:
        with contextlib.suppress(OSError):
            remove_folder(old)


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the complete checkpoints under a folder, oldest first."""
    if not folder.is_dir():
        return []
    recover(folder)
    return sorted(path for path in folder.iterdir() if path.name.isdigit() and (path / "progress.json").is_file())


def load_checkpoint(model: PPO, checkpoint: Path) -> TrainingState:
    """Load a checkpoint's weights, optimizer and counters into `model`; return the state of the training.

    Raises:
        ArtefactError: where a file is missing, altered, or does not fit the model.
    """
    record = read_json(checkpoint / "progress.json", schema_version=SCHEMA_VERSION)
    record.pop("schema_version")
    try:
        state = TypeAdapter(TrainingState).validate_python(record)
        policy, _ = read_tensors(checkpoint / "policy.safetensors")
        if set(policy) != {name for name in model.policy.state_dict() if not _is_alias(name)}:
            raise ArtefactError(f"{checkpoint}: its weights are those of another network (force=True starts anew)")
        aliases = {name: policy[_origin(name)] for name in model.policy.state_dict() if _is_alias(name)}
        model.policy.load_state_dict({**policy, **aliases})
        _restore_optimizer(model.policy.optimizer, read_tensors(checkpoint / "optimizer.safetensors")[0])
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ArtefactError(f"{checkpoint}: does not fit this training: {printable(error, limit=300)}") from None
    model.num_timesteps = state.steps
    model._n_updates = state.updates
    best_file = checkpoint / "best.safetensors"
    state.best = read_tensors(best_file)[0] if best_file.is_file() else None
    return state


def _is_alias(name: str) -> bool:
    # A shared features extractor stands three times in the policy's state; safetensors refuses shared memory.
    return name.startswith(("pi_features_extractor.", "vf_features_extractor."))


def _origin(name: str) -> str:
    return name.removeprefix("pi_").removeprefix("vf_")


def _flatten_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Adam's moments and step counts as flat tensors; learning rates are set anew by the schedule."""
    state: dict[int, dict[str, Any]] = optimizer.state_dict()["state"]
    return {
        f"{index}.{key}": torch.as_tensor(value).contiguous()
        for index, entry in state.items()
        for key, value in entry.items()
    } or {"empty": torch.zeros(1)}


def _restore_optimizer(optimizer: torch.optim.Optimizer, flat: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in flat.items():
        if name == "empty":
            continue
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
