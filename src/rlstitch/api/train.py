"""Train an agent from a config and save it as `agents/<name>`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rlstitch.agents import (
    ARCHITECTURES,
    Agent,
    AgentCard,
    AnchorsCard,
    AnchorSet,
    CNNSpec,
    ControllerSpec,
    MLPSpec,
    PartSpec,
    PartsSpec,
    RelativeSpec,
    TrainingCard,
    encoder_width,
    load_agent,
    load_anchor_set,
    save_agent,
)
from rlstitch.agents.spaces import spaces_of
from rlstitch.config.training import TrainConfig
from rlstitch.envs import Layout, Shape, World, describe_shape, family_of, import_modules, is_image, with_sensor
from rlstitch.errors import ArtefactError, IncompatibleError, InvalidInputError
from rlstitch.jobs.progress import ProgressReporter, Style
from rlstitch.jobs.resources import resolve_device, threads_for, torch_threads
from rlstitch.rollouts.anchors import default_anchor_set
from rlstitch.rollouts.evaluation import evaluate
from rlstitch.rollouts.video import require_recordable
from rlstitch.storage import (
    AGENTS,
    ANCHORS,
    RECORDS,
    RUNS,
    agent_lock,
    command_line,
    exclusive_lock,
    folder_exists,
    new_agent_folder,
    read_json,
    recover,
    remove_folder,
    translated_errors,
    write_json,
    write_table,
)
from rlstitch.training.parts import NO_PARTS, Parts, load_parts
from rlstitch.training.ppo import TrainingResult, build_ppo, gigaflops_of_minibatch, train_ppo

FINAL_EPISODES = 100
_FINAL_SEED = 2_000_003
_PART_WIDTH = 64
"""Latents of a key where the architecture of images decides on theirs."""
_LARGE = 36
"""Pixels a side that every architecture but `grid` takes."""


@dataclass(frozen=True)
class Trained:
    """A trained agent, its folders, and how its training ended."""

    agent: Agent
    folder: Path
    run_folder: Path
    ended: Literal["finished", "reached", "interrupted"]


def train(
    config: TrainConfig,
    *,
    resume: bool = False,
    force: bool = False,
    agents: Path = AGENTS,
    runs: Path = RUNS,
    progress: Style = "auto",
    on_progress: Callable[[int, int], None] | None = None,
) -> Trained:
    """Train the agent that a config describes, evaluate it, and save it.

    The run's folder `runs/<name>-<hash8>` holds the resolved config, TensorBoard events, checkpoints and the curve.
    After Ctrl-C or a crash, `resume` continues from the newest checkpoint and ends with the agent that an uninterrupted
    run would have given.

    Args:
        config: from `load_config`.
        resume: continue the run of the same config where there is one.
        force: replace an agent of the same name and restart its run, whose folder is kept in `<runs>/_grid/older` until
            the new training has ended.
        agents: folder of agents.
        runs: folder of runs.
        progress: a `bar` or `lines` with rate and time left; `auto`: a bar where there is a terminal.
        on_progress: called after each rollout with the environment steps done and in all.

    Returns:
        The agent (after Ctrl-C: the best so far, saved in the run's folder, not among the agents).

    Raises:
        InvalidInputError: where an agent of that name exists (without `force`), the run exists (without `resume` or
            `force`), or the device is not there.
        BusyError: another process trains an agent of that name.
    """
    _check_world(config)  # what is refused leaves no lock behind
    if not resume:
        new_agent_folder(config.name, agents=agents, force=force)
    with exclusive_lock(agent_lock(config.name, runs), f"agent {config.name!r}"):
        return train_locked(
            config,
            resume=resume,
            force=force,
            agents=agents,
            runs=runs,
            progress=progress,
            on_progress=on_progress,
        )


def train_locked(
    config: TrainConfig,
    *,
    resume: bool,
    force: bool,
    agents: Path,
    runs: Path,
    progress: Style,
    on_progress: Callable[[int, int], None] | None,
) -> Trained:
    """Train as `train` does, for a caller who holds the lock of the agent's name."""
    device = _check_world(config)
    folder, run_folder = agents / config.name, runs / f"{config.name}-{config.hash8}"
    older = runs / RECORDS / "older" / run_folder.name
    if folder_exists(folder) and resume and not force and (run_folder / "curve.json").is_file():
        recover(run_folder)
        return Trained(load_agent(folder), folder, run_folder, "finished")
    new_agent_folder(config.name, agents=agents, force=force)
    if run_folder.exists() and not run_folder.is_dir():
        raise InvalidInputError(f"cannot write the folder {run_folder}: a file is in the way")
    if run_folder.exists() and not resume:
        if not force and (run_folder / "checkpoints").is_dir():
            raise InvalidInputError(
                f"an unfinished run is there already ({run_folder}); resume=True continues, force=True starts anew"
            )
        _set_aside(run_folder, older)
    parts = load_parts(config.start)
    card, anchor_set = draft_card(config, parts)
    _record_parents(card, run_folder, resume=resume)
    if differences := parts.differences(config):
        ProgressReporter(style=progress).write(f"start.encoder: {config.start.encoder} was trained with {differences}")
    if unseen := family_of(config.world).unseen(config.world):
        ProgressReporter(style=progress).write(f"{config.world.environment}: {unseen}")
    images = None
    if anchor_set is not None:
        images = anchor_set.render_in(config.world)
        anchor_set.save(ANCHORS)
    write_json(run_folder / "config.json", config.resolved())
    with torch_threads(config.threads):
        result = _run_ppo(config, card, parts, run_folder, device, images, resume, progress, on_progress)
        if result.history:
            write_table(result.history, run_folder / "curve")
        finished = None
        if result.ended != "interrupted":
            with suppress(KeyboardInterrupt):
                finished = _finished_card(card, result, config, progress)
        if finished is None:
            saved = save_agent(result.agent, run_folder / "interrupted" / config.name, force=True)
            return Trained(result.agent, saved, run_folder, "interrupted")
        agent = Agent(result.agent.encoder, result.agent.controller, finished)
    save_agent(result.last, run_folder / "last" / config.name, force=True)
    save_agent(agent, folder, force=force)
    _remove(run_folder / "checkpoints")
    _remove(older)
    return Trained(agent, folder, run_folder, result.ended)


def _run_ppo(
    config: TrainConfig,
    card: AgentCard,
    parts: Parts,
    run_folder: Path,
    device: str,
    anchor_images: NDArray[np.uint8] | None,
    resume: bool,
    progress: Style,
    on_progress: Callable[[int, int], None] | None,
) -> TrainingResult:
    """Train by PPO, with as many threads as the config states or as pay for its network."""
    with _refusals(run_folder):
        model = build_ppo(
            card,
            num_envs=config.num_envs,
            device=device,
            precision=config.precision,
            workers=config.num_envs if config.processes is True else int(config.processes),
            parts=parts,
            **config.ppo.model_dump(),
        )
        with torch_threads(config.threads or threads_for(gigaflops_of_minibatch(model))):
            return train_ppo(
                model,
                card,
                config,
                run_folder,
                anchor_images=anchor_images,
                resume=resume,
                progress=progress,
                on_progress=on_progress,
            )


@contextmanager
def _refusals(run_folder: Path) -> Iterator[None]:
    """Turn errors of the disk into one ArtefactError; TensorBoard's thread passes its own on, without a traceback."""
    before = threading.excepthook

    def quiet(args: threading.ExceptHookArgs) -> None:
        if not isinstance(args.exc_value, OSError):
            before(args)

    threading.excepthook = quiet
    try:
        yield
    except OSError as error:
        raise ArtefactError(f"cannot write in {run_folder}: {error.strerror or error}") from None
    finally:
        threading.excepthook = before


def _check_world(config: TrainConfig) -> str:
    """Raise where the environment, its videos or the device cannot be had; return the device."""
    import_modules(config.world.modules)
    shape, actions = spaces_of(config.world)
    parts = load_parts(config.start)
    parts.check(config, shape, actions)
    if parts.encoder is None:
        _encoder_spec(config, shape)
    if config.evaluation.video is True:
        require_recordable(config.world, shape)
    return resolve_device(config.device)


def _encoder_spec(config: TrainConfig, shape: Shape, latent_dim: int | None = None) -> CNNSpec | MLPSpec | PartsSpec:
    """Return the specification of the absolute encoder of observations of a shape.

    Where they are of several keys, these share the width of the latents.

    Args:
        config: of the training.
        shape: of the observations.
        latent_dim: width of the latents where a controller decides it.

    Raises:
        InvalidInputError: where the architecture takes no such observations.
    """
    layout = family_of(config.world).layout(config.world)
    encoder, images = config.encoder, is_image(shape) or any(part.kind == "image" for part in layout)
    if images == (encoder.arch == "mlp"):
        expected = ", ".join(ARCHITECTURES) if images else "mlp"
        raise InvalidInputError(
            f"encoder.arch: {config.world.environment} gives observations of {describe_shape(shape)}; expected "
            f"{expected}, found {encoder.arch}"
        )
    _check_frames(config, vectors=encoder.arch == "mlp" and len(layout) < 2)
    width = latent_dim or encoder.latent_dim
    if len(layout) > 1:
        return _parts_spec(config, layout, width)
    return (
        _vector_spec(config, shape, width) if encoder.arch == "mlp" else _image_spec(config, shape, width, encoder.arch)
    )


def _check_frames(config: TrainConfig, *, vectors: bool) -> None:
    """Refuse ways of reading a stack that the observations do not have."""
    frames, stack = config.encoder.frames, config.world.frame_stack
    if frames == ("separate" if vectors else "differences"):
        other = "differences" if vectors else "separate"
        kind = "vectors" if vectors else "images or several keys"
        raise InvalidInputError(f"encoder.frames: expected channels or {other} for {kind}, found {frames}")
    if frames == "differences" and stack < 2:
        raise InvalidInputError(f"frame_stack: expected 2 or more with encoder.frames differences, found {stack}")


def _vector_spec(config: TrainConfig, shape: Shape, width: int | None) -> MLPSpec:
    frames = config.world.frame_stack if config.encoder.frames == "differences" else 1
    fields = config.encoder.model_dump(include={"hidden", "activation", "normalize"})
    return MLPSpec.model_validate({"observation_shape": shape, "latent_dim": width, "frames": frames, **fields})


def _image_spec(config: TrainConfig, shape: Shape, width: int | None, arch: str) -> CNNSpec:
    frames = config.world.frame_stack if config.encoder.frames == "separate" else 1
    fields = {"image_shape": shape, "arch": arch, "frames": frames, "latent_dim": width}
    base = CNNSpec.model_validate(fields)
    return base.model_copy(update={"latent_dim": encoder_width(base)})


def _parts_spec(config: TrainConfig, layout: Layout, total: int | None) -> PartsSpec:
    """The encoders of several keys: convolutions of images, multilayer perceptrons of all others."""
    parts: list[PartSpec] = []
    for number, part in enumerate(layout):
        width = None if total is None else total // len(layout) + (number < total % len(layout))
        spec: CNNSpec | MLPSpec
        if part.kind == "image":
            arch = "grid" if min(part.shape[:2]) < _LARGE else config.encoder.arch
            spec = _image_spec(config, part.shape, width if arch != "grid" else width or _PART_WIDTH, arch)
        else:
            spec = _vector_spec(config, part.shape, width or _PART_WIDTH)
        if part.kind == "text":  # its codes are of one size already
            spec = spec.model_copy(update={"normalize": False})
        parts.append(PartSpec(key=part.key, encoder=spec))
    return PartsSpec(parts=tuple(parts))


def _record_parents(card: AgentCard, run_folder: Path, *, resume: bool) -> None:
    """Write which weights a training starts from; refuse to resume one that started from others."""
    path, parents = run_folder / "parents.json", [parent.model_dump() for parent in card.parents]
    if resume and path.is_file():
        before = read_json(path, schema_version=1).get("parents")
        if not isinstance(before, list):
            raise ArtefactError(f"{path}: expected a list of parents, found none; force=True starts anew")
        if changed := [parent["name"] for parent in parents if parent not in before]:
            raise InvalidInputError(
                f"agent {changed[0]!r} is not the one that this run started from; force=True starts anew"
            )
    if parents:
        write_json(path, {"parents": parents}, schema_version=1)


def draft_card(config: TrainConfig, parts: Parts = NO_PARTS) -> tuple[AgentCard, AnchorSet | None]:
    """Return the card of an agent to be trained, and the anchor set that its encoder follows where it is relative.

    Args:
        config: of the training.
        parts: the agents whose parts it starts from.

    Raises:
        IncompatibleError: where the encoder's latents have another width than the controller takes.
    """
    world = with_sensor(config.world)
    shape, actions = spaces_of(world)
    if parts.encoder is None:
        spec, anchors, anchor_set = _fresh_encoder(config, world, shape, parts.controller)
        encoder, latent_dim = spec.model_dump(mode="json"), encoder_width(spec)
    else:
        encoder, latent_dim = parts.encoder.encoder.spec(), parts.encoder.encoder.latent_dim
        anchors = parts.encoder.card.anchors
        follows = anchors is not None and parts.freeze != "encoder"
        anchor_set = load_anchor_set(anchors.identity, root=ANCHORS) if anchors is not None and follows else None
    if parts.controller is None:
        fresh = {"latent_dim": latent_dim, "actions": actions, **config.controller.model_dump()}
        controller = ControllerSpec.model_validate(fresh).model_dump(mode="json")
    else:
        controller = parts.controller.controller.spec()
        if latent_dim != controller["latent_dim"]:
            raise IncompatibleError(
                f"start.controller: agent {parts.controller.card.name!r} takes latents of width "
                f"{controller['latent_dim']}, the encoder gives {latent_dim}"
            )
    card = AgentCard(
        name=config.name,
        world=world,
        seed=config.seed,
        observation_shape=shape,
        encoder=encoder,
        controller=controller,
        anchors=anchors,
        parents=parts.parents,
        method=parts.method,
        command=command_line(),
    )
    return card, anchor_set


def _fresh_encoder(
    config: TrainConfig, world: World, shape: Shape, controller: Agent | None
) -> tuple[CNNSpec | MLPSpec | PartsSpec | RelativeSpec, AnchorsCard | None, AnchorSet | None]:
    """Return the specification of an encoder with fresh weights, and its anchors where it is relative."""
    relative = config.relative
    if config.representation == "absolute":
        return _encoder_spec(config, shape, controller.controller.latent_dim if controller else None), None, None
    base = _encoder_spec(config, shape)
    anchor_set = default_anchor_set(world, relative.anchors, relative.selection)
    anchors = AnchorsCard(
        identity=anchor_set.identity,
        count=len(anchor_set),
        similarity=relative.similarity,
        normalization=relative.normalization,
    )
    fields = relative.model_dump(include={"similarity", "normalization", "shrinkage"})
    spec = RelativeSpec(base=base, anchors=len(anchor_set), anchor_set=anchor_set.identity, **fields)
    return spec, anchors, anchor_set


def _finished_card(card: AgentCard, result: TrainingResult, config: TrainConfig, style: Style) -> AgentCard:
    with ProgressReporter(style=style) as progress:
        playing = progress.stage(f"{config.name}: evaluation", "episodes")
        outcome = evaluate(result.agent, episodes=FINAL_EPISODES, seed=_FINAL_SEED, on_progress=playing)
    summary = outcome.summary()
    training = TrainingCard(
        algorithm="PPO (Stable-Baselines3)",
        steps=result.steps,
        seconds=round(result.seconds, 1),
        return_mean=summary.mean.estimate,
        return_interval=(summary.mean.low, summary.mean.high),
        success_rate=None if summary.success is None else summary.success.estimate,
        episodes=FINAL_EPISODES,
        hyperparameters=config.resolved(),
    )
    return card.model_copy(update={"training": training})


def _set_aside(folder: Path, older: Path) -> None:
    """Move the folder of an earlier run to `older`, where it stays until a training has ended in its place."""
    with translated_errors("move", folder):
        older.mkdir(parents=True, exist_ok=True)
        folder.rename(older / str(len(list(older.iterdir()))))


def _remove(folder: Path) -> None:
    if folder.exists():
        with translated_errors("remove", folder):
            remove_folder(folder)
