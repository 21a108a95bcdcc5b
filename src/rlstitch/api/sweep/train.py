"""One training of a grid, as a task: what is there already, what is begun again, and how it ended."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any, Literal

from rlstitch.config.training import TrainConfig
from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.storage import read_json, staged_folder
from rlstitch.storage.files import translated_errors
from rlstitch.storage.locks import exclusive_lock

CALL = "rlstitch.api.sweep.train:train_one"
BOOKS = "_grid"
"""The folder beside the runs in which grids keep their books: `locks`, `logs`, `failed`, `replaced`, tables."""
Presence = Literal["here", "other", "none"]


def train_one(config: dict[str, Any], agents: str, runs: str) -> dict[str, Any]:
    """Train one agent, or go on with a training that was cut off; an agent that is there already is left alone.

    An agent of the same name that another config gave is kept as a copy in `<runs>/_grid/replaced`.

    Args:
        config: a resolved `TrainConfig`.
        agents, runs: the folders of agents and of runs.

    Returns:
        The `summary` of the agent, and whether it was `trained` now.

    Raises:
        BusyError: another process is training it.
        RlstitchError: whatever stops a training.
    """
    wanted = TrainConfig.model_validate(config)
    agents_folder, runs_folder = Path(agents), Path(runs)
    folder = agents_folder / wanted.name
    books = runs_folder / BOOKS
    with exclusive_lock(lock_of(wanted.name, runs_folder), f"agent {wanted.name!r}"):
        presence = presence_of(wanted, folder)
        if presence == "here":  # another grid was faster
            return {**summary(folder), "trained": False}
        from rlstitch.api.train import train
        from rlstitch.jobs.worker import report
        from rlstitch.training.checkpoint import list_checkpoints

        if presence == "other":
            keep_copy(folder, books / "replaced")
        # With no checkpoint yet there is nothing to go on from: whatever else lies there is of no use.
        resume = bool(list_checkpoints(runs_folder / f"{wanted.name}-{wanted.hash8}" / "checkpoints"))
        trained = train(
            wanted,
            resume=resume,
            force=True,
            agents=agents_folder,
            runs=runs_folder,
            progress="lines",
            on_progress=report,
        )
        if trained.ended == "interrupted":
            raise KeyboardInterrupt
        return {**summary(folder), "trained": True}


def lock_of(name: str, runs: Path) -> Path:
    """Return the lock file of an agent's name: two runs of one name write to one folder."""
    return runs / BOOKS / "locks" / f"{name}.lock"


def presence_of(config: TrainConfig, folder: Path) -> Presence:
    """Say whether an agent that this config gives is there, another one of its name, or none.

    A whole manifest is enough: it is written last.
    """
    if not folder.is_dir():
        return "none"
    try:
        recorded = read_json(folder / "agent.json")["training"]["hyperparameters"]
        same = _same(config, recorded)
    except (ArtefactError, InvalidInputError, KeyError, TypeError, ValueError):
        return "other"
    return "here" if same else "other"


def _same(config: TrainConfig, recorded: dict[str, Any]) -> bool:
    resolved = config.resolved()
    if recorded == resolved:
        return True
    if config.representation == "absolute":  # then how to project has no effect
        recorded = {**recorded, "relative": resolved["relative"]}
    # Older records lack newer keys, and device and threads are free: the hash decides.
    return TrainConfig.model_validate(recorded).hash8 == config.hash8


def summary(folder: Path) -> dict[str, Any]:
    """Return what an agent's manifest says of its training: steps, seconds, return and success.

    Raises:
        ArtefactError: there is no such manifest.
    """
    training = read_json(folder / "agent.json").get("training") or {}
    return {
        "steps": training.get("steps"),
        "seconds": training.get("seconds"),
        "return": training.get("return_mean"),
        "success": training.get("success_rate"),
    }


def keep_copy(folder: Path, kept: Path) -> None:
    """Copy an agent's folder to `<kept>/<name>-<digits of its manifest>`, before another takes its place."""
    with translated_errors("read", folder):
        manifest = folder / "agent.json"
        content = manifest.read_bytes() if manifest.is_file() else b""
        target = kept / f"{folder.name}-{hashlib.sha256(content).hexdigest()[:8]}"
        if target.exists():
            return
        with staged_folder(target) as stage:
            for path in folder.iterdir():
                if path.is_file():
                    shutil.copy2(path, stage / path.name)
