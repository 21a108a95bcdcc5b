"""Agents of models that other libraries trained: read from their files, or live in a program."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from rlstitch.agents.agent import Agent
from rlstitch.agents.card import AgentCard, TrainingCard
from rlstitch.agents.cleanrl import SUFFIX, import_cleanrl
from rlstitch.agents.sb3.archive import ModelFile, read_model
from rlstitch.agents.sb3.importing import ImportedModel, ModelOptions, import_model
from rlstitch.agents.sb3.spaces import sees_bytes, stacked_frames
from rlstitch.agents.sb3.statistics import of_ram, read_statistics
from rlstitch.agents.spaces import spaces_of
from rlstitch.envs import Shape, World, as_world, import_modules, with_sensor
from rlstitch.errors import InvalidInputError
from rlstitch.storage.workspace import command_line


def agent_of_model(
    model: str | Path | BaseAlgorithm,
    *,
    name: str,
    world: World,
    normalization: str | Path | VecNormalize | None = None,
    options: ModelOptions | None = None,
) -> Agent:
    """Make an agent of a model, without running code out of its file; arguments and errors are `import_agent`'s."""
    options = options or ModelOptions()
    import_modules(world.modules)
    shape, actions = spaces_of(world)
    if normalization is None and isinstance(model, BaseAlgorithm):
        normalization = model.get_vec_normalize_env()
    statistics = None if normalization in (None, "none") else read_statistics(normalization)
    with _saved(model) as path:
        if path.suffix == SUFFIX:
            for option in ("activation", "extractor"):
                if getattr(options, option):
                    raise InvalidInputError(f"{option}: expected none beside a {SUFFIX}, whose network is known")
            _check_stated(path, world, shape, normalization)
            imported = import_cleanrl(
                path, observation_shape=shape, actions=actions, split=options.split, statistics=statistics
            )
        else:
            file = read_model(path)
            world, shape = _as_seen(file, world, shape)
            if with_sensor(world).sensor == "ram" and sees_bytes(file):
                statistics = of_ram(statistics, shape[0])
            imported = import_model(
                file, observation_shape=shape, actions=actions, statistics=statistics, options=options
            )
    return Agent(imported.encoder, imported.controller, _card(name, with_sensor(world), imported))


def agent_of_live(model: Any, env: Any = None) -> Agent:
    """Make an agent, named after its class, of a live model of Stable-Baselines3.

    Args:
        model: the model.
        env: what `rlstitch.envs.as_world` takes, or fields of the world of the model's own environment by name; None:
            that world.

    Raises:
        InvalidInputError: for anything else than such a model, and for one that has no environment where `env` is none.
    """
    name = type(model).__name__
    if not isinstance(model, BaseAlgorithm):
        raise InvalidInputError(
            "agent: expected a name, a folder, an Agent or a model of Stable-Baselines3 (Agent.from_modules takes "
            f"modules of torch, import_agent files of other libraries), found {name}"
        )
    fields = env if isinstance(env, Mapping) else {}
    place = model.get_env() if env is None or fields else env
    if place is None:
        raise InvalidInputError(f"agent: the {name} has no environment; give one with env=, or {name}.set_env")
    return agent_of_model(model, name=name, world=as_world(place, **fields))


@contextmanager
def _saved(model: str | Path | BaseAlgorithm) -> Iterator[Path]:
    """The file of a model; a live one is saved first, so that the same checks read it."""
    if not isinstance(model, BaseAlgorithm):
        yield Path(model)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{type(model).__name__}.zip")
        model.save(path)
        yield path


def _as_seen(file: ModelFile, world: World, shape: Shape) -> tuple[World, Shape]:
    """Return the world with the stack that a file states, and the shape of its observations."""
    if world.frame_stack == 1 and (frames := stacked_frames(file, shape)) > 1:
        world, shape = replace(world, frame_stack=frames), (*shape[:-1], shape[-1] * frames)
    if world.frame_stack > 1 and world.padding is None:  # the file does not tell
        world = replace(world, padding="zeros")
    return world, shape


def _check_stated(path: Path, world: World, shape: Shape, normalization: object) -> None:
    """Check that the preprocessing of a state dict, which does not hold it, is stated.

    Raises:
        InvalidInputError: where it is not.
    """
    missing = ""
    if world.frame_stack > 1 and world.padding is None:
        missing = (
            "padding: {} what stands before the first observation of an episode (--world padding=first for gym's "
            "FrameStack, padding=zeros)"
        )
    elif len(shape) == 1 and normalization is None:
        missing = "normalization: {} the statistics of NormalizeObservation (--normalization FILE.npz), or none"
    if missing:
        raise InvalidInputError(f"{path}: " + missing.format(f"a {SUFFIX} does not hold its preprocessing: state"))


def _card(name: str, world: World, imported: ImportedModel) -> AgentCard:
    return AgentCard(
        name=name,
        world=world,
        seed=imported.seed,
        observation_shape=imported.encoder.observation_shape,
        encoder=imported.encoder.spec(),
        controller=imported.controller.spec(),
        training=TrainingCard(
            algorithm=f"{imported.algorithm} ({imported.library}, imported)",
            steps=imported.steps,
            seconds=0.0,
            hyperparameters=dict(imported.hyperparameters),
        ),
        command=command_line(),
    )
