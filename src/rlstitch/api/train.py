"""Train an agent from a config and save it as `agents/<name>`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rlstitch.agents import (
    Agent,
    AgentCard,
    AnchorsCard,
    AnchorSet,
    CNNSpec,
    ControllerSpec,
    MLPSpec,
    RelativeSpec,
    TrainingCard,
    encoder_width,
    load_agent,
    save_agent,
)
from rlstitch.config.training import TrainConfig
from rlstitch.envs import Shape, World, describe_shape, family_of, import_modules, is_image, with_sensor
from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.jobs.progress import ProgressReporter, Style
from rlstitch.jobs.resources import resolve_device, threads_for, torch_threads
from rlstitch.rollouts.anchors import choose_anchor_set, choose_replay_anchor_set
from rlstitch.rollouts.evaluation import evaluate
from rlstitch.rollouts.recording import collect_frames, played_as
from rlstitch.rollouts.video import require_recordable
from rlstitch.rollouts.views import collect_views
from rlstitch.storage import (
    AGENTS,
    ANCHORS,
    RUNS,
    command_line,
    exclusive_lock,
    folder_exists,
    new_agent_folder,
    recover,
    remove_folder,
    training_lock,
    translated_errors,
    write_json,
    write_table,
)
from rlstitch.training.policy import spaces_of
from rlstitch.training.ppo import TrainingResult, build_ppo, gigaflops_of_minibatch, train_ppo

# Agents of any look or seed share one anchor set.
ANCHOR_SEED = 0
FINAL_EPISODES = 100
_FINAL_SEED = 2_000_003


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
        force: replace an agent of the same name and restart its run.
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
    with exclusive_lock(training_lock(config.name, runs), f"agent {config.name!r}"):
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
    if folder_exists(folder) and resume and not force and (run_folder / "curve.json").is_file():
        recover(run_folder)
        return Trained(load_agent(folder), folder, run_folder, "finished")
    new_agent_folder(config.name, agents=agents, force=force)
    if run_folder.exists() and not resume:
        if not force and (run_folder / "checkpoints").is_dir():
            raise InvalidInputError(
                f"an unfinished run is there already ({run_folder}); resume=True continues, force=True starts anew"
            )
        _remove(run_folder)
    card, anchor_set = draft_card(config)
    if unseen := family_of(config.world).unseen(config.world):
        ProgressReporter(style=progress).write(f"{config.world.environment}: {unseen}")
    images = None
    if anchor_set is not None:
        images = anchor_set.render_in(config.world)
        anchor_set.save(ANCHORS)
    write_json(run_folder / "config.json", config.resolved())
    with torch_threads(config.threads):
        result = _run_ppo(config, card, run_folder, device, images, resume, progress, on_progress)
        if result.history:
            write_table(result.history, run_folder / "curve")
        if result.ended == "interrupted":
            saved = save_agent(result.agent, run_folder / "interrupted" / config.name, force=True)
            return Trained(result.agent, saved, run_folder, "interrupted")
        agent = Agent(result.agent.encoder, result.agent.controller, _finished_card(card, result, config, progress))
    save_agent(result.last, run_folder / "last" / config.name, force=True)
    save_agent(agent, folder, force=force)
    _remove(run_folder / "checkpoints")
    return Trained(agent, folder, run_folder, result.ended)


def _run_ppo(
    config: TrainConfig,
    card: AgentCard,
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
            workers=int(config.processes),
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
    shape, _ = spaces_of(config.world)
    _encoder_spec(config, shape)
    if config.evaluation.video:
        require_recordable(config.world, shape)
    return resolve_device(config.device)


def _encoder_spec(config: TrainConfig, shape: Shape) -> CNNSpec | MLPSpec:
    """Return the specification of the absolute encoder of observations of a shape.

    Raises:
        InvalidInputError: where the architecture takes no such observations.
    """
    encoder = config.encoder
    if is_image(shape) == (encoder.arch == "mlp"):
        expected = "small, nature or r3l" if is_image(shape) else "mlp"
        raise InvalidInputError(
            f"encoder.arch: {config.world.environment} gives observations of {describe_shape(shape)}; expected "
            f"{expected}, found {encoder.arch}"
        )
    if encoder.arch == "mlp":
        fields = encoder.model_dump(include={"hidden", "activation", "latent_dim", "normalize"})
        return MLPSpec.model_validate({"observation_shape": shape, **fields})
    frames = config.world.frame_stack if encoder.frames == "separate" else 1
    fields = encoder.model_dump(include={"arch", "latent_dim"})
    base = CNNSpec.model_validate({"image_shape": shape, "frames": frames, **fields})
    return base.model_copy(update={"latent_dim": encoder_width(base)})


def draft_card(config: TrainConfig) -> tuple[AgentCard, AnchorSet | None]:
    """Return the card of an agent to be trained, and its anchor set where it is relative."""
    world = with_sensor(config.world)
    shape, actions = spaces_of(world)
    base = _encoder_spec(config, shape)
    encoder, latent_dim, anchor_set, anchors = base.model_dump(mode="json"), base.latent_dim, None, None
    if config.representation == "relative":
        anchor_set = default_anchor_set(world, config.relative.anchors, config.relative.selection)
        relative = RelativeSpec(
            base=base,
            anchors=len(anchor_set),
            similarity=config.relative.similarity,
            normalization=config.relative.normalization,
            shrinkage=config.relative.shrinkage,
            anchor_set=anchor_set.identity,
        )
        encoder, latent_dim = relative.model_dump(mode="json"), relative.width
        anchors = AnchorsCard(
            identity=anchor_set.identity,
            count=len(anchor_set),
            similarity=config.relative.similarity,
            normalization=config.relative.normalization,
        )
    controller = ControllerSpec.model_validate(
        {"latent_dim": latent_dim, "actions": actions, **config.controller.model_dump()}
    )
    card = AgentCard(
        name=config.name,
        world=world,
        seed=config.seed,
        observation_shape=shape,
        encoder=encoder,
        controller=controller.model_dump(mode="json"),
        anchors=anchors,
        command=command_line(),
    )
    return card, anchor_set


def default_anchor_set(
    world: World, count: int, selection: str = "farthest", drivers: Sequence[Agent] = ()
) -> AnchorSet:
    """Return the anchor set of an environment, the same for every look, seed and agent.

    Anchors are symbolic views where the family has them, else frames of recorded episodes. The states are those of
    random play and of the `drivers`.

    Args:
        world: environment and, where the family has symbolic views, view and tile size.
        count: number of anchors; fewer where fewer distinct states are reached.
        selection: method of choosing them.
        drivers: agents that play too, each in its own look; the set depends on them and their order.

    Raises:
        InvalidInputError: where there are no symbolic views and the environment is not deterministic.
        IncompatibleError: where a driver has another view, or no action in common with the environment.
    """
    if not family_of(world).symbolic:
        # View and tile size have no effect here: the set must not depend on them.
        plain = played_as(World(world.environment, sensor=world.sensor), replace(world, task="standard"))
        recording = collect_frames(plain, max(1024, 4 * count), seed=ANCHOR_SEED, agents=drivers)
        return choose_replay_anchor_set(recording, count, method=selection, seed=ANCHOR_SEED, fewer=True)
    plain = World(world.environment, view=world.view, tile_size=world.tile_size)
    steps = max(20_000, 20 * count)
    collection = collect_views(plain, count=max(512, 4 * count), max_steps=steps, seed=ANCHOR_SEED, agents=drivers)
    return choose_anchor_set(collection, min(count, len(collection)), method=selection, seed=ANCHOR_SEED)


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


def _remove(folder: Path) -> None:
    if folder.exists():
        with translated_errors("remove", folder):
            remove_folder(folder)
