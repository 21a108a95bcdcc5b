"""Stable-Baselines3's PPO around our encoder and controller: a card that says what to train -> an Agent."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import VecTransposeImage
from torch.utils.flop_counter import FlopCounterMode

from rlstitch.agents import Agent, AgentCard, RelativeEncoder, encoder_input
from rlstitch.config.training import PPOConfig, TrainConfig
from rlstitch.envs import StableBaselinesVecEnv, is_image, make_vec
from rlstitch.errors import InvalidInputError
from rlstitch.jobs.progress import Style
from rlstitch.training.buffer import DistinctRolloutBuffer
from rlstitch.training.callbacks import (
    AnchorCallback,
    CheckpointCallback,
    EvaluationCallback,
    ObservationCallback,
    ProgressCallback,
    SettingsCallback,
    StopCallback,
    VideoCallback,
    best_agent,
    current_agent,
)
from rlstitch.training.checkpoint import TrainingState, list_checkpoints, load_checkpoint, reseed
from rlstitch.training.normalization import NormalizationCallback, random_observations
from rlstitch.training.parts import NO_PARTS, Parts
from rlstitch.training.policy import EncoderControllerPolicy, EncoderExtractor, Precision


@dataclass(frozen=True)
class TrainingResult:
    """What a training gave."""

    agent: Agent
    """The agent with the weights of the best evaluation (the last weights where there was none)."""
    steps: int
    """Environment steps in all, resumed stretches included."""
    best_steps: int
    """Environment steps at the best evaluation."""
    seconds: float
    ended: Literal["finished", "reached", "interrupted"]
    """All steps done; the wanted success rate reached; or stopped by Ctrl-C."""
    last: Agent
    """The agent with the last weights."""
    history: list[dict[str, int | float | None]]
    """One row an evaluation: steps, return, success (None where the world knows none), length."""


def build_ppo(
    card: AgentCard,
    *,
    num_envs: int = 16,
    device: str = "cpu",
    precision: Precision = "float32",
    workers: int = 0,
    parts: Parts = NO_PARTS,
    **hyperparameters: Any,
) -> PPO:
    """Make Stable-Baselines3's PPO around the encoder and controller that a card describes, in the card's world.

    Args:
        card: world, seed and the specifications of encoder and controller.
        num_envs: environments at once.
        device: torch device.
        precision: `bfloat16` computes the encoder in mixed precision, which pays with large encoders.
        workers: how many other processes step and draw the environments; 0 leaves them in this one.
        parts: the agents whose parts give the first weights.
        hyperparameters: fields of `PPOConfig`, which has their defaults. A rollout is `num_envs * n_steps` steps, used
            `n_epochs` times in `n_minibatches` batches; `linear` anneals Adam's learning rate to 0; the others are
            named as in Schulman et al. (1707.06347). `reward_scale` is a factor on the rewards that are learned from:
            where returns are in the hundreds, errors of the values would drown the gradient of the policy.
            `reward_clip` limits them before; `terminal_on_life_loss` ends episodes for the learner alone.

    Raises:
        InvalidInputError: where the minibatches do not divide a rollout.
    """
    config = PPOConfig(**hyperparameters)
    settings = sb3_settings(config, num_envs)
    environments = StableBaselinesVecEnv(
        make_vec(card.world, num_envs, seed=card.seed, workers=workers),
        reward_scale=config.reward_scale,
        reward_clip=config.reward_clip,
        terminal_on_life_loss=config.terminal_on_life_loss,
    )
    shape = environments.observation_space.shape or ()
    model = PPO(
        EncoderControllerPolicy,
        # Channels are first already: without this wrapper a stack with more channels than rows would be turned again.
        VecTransposeImage(environments, skip=True) if is_image(shape) else environments,
        **settings,
        seed=card.seed,
        device=device,
        rollout_buffer_class=DistinctRolloutBuffer,
        policy_kwargs={
            "controller_spec": card.controller,
            "precision": precision,
            "optimizer_kwargs": {"eps": 1e-5, "fused": True},  # as the stock policy's Adam, in one kernel
            "features_extractor_class": EncoderExtractor,
            "features_extractor_kwargs": {"encoder_spec": card.encoder},
        },
    )
    policy: Any = model.policy
    compute_distinct_once(model)
    if parts.freeze == "encoder":
        model.rollout_buffer.encode = policy.encode
    policy.start_from(
        None if parts.encoder is None else parts.encoder.encoder,
        None if parts.controller is None else parts.controller.controller,
        parts.freeze,
    )
    return model


def compute_distinct_once(model: PPO) -> None:
    """Let a model with our policy and buffer compute equal images of a rollout, and equal patches of them, once."""
    policy: Any = model.policy
    buffer: Any = model.rollout_buffer
    policy.distinct_once, buffer.patch_size = True, policy.encoder.patch_size


def sb3_settings(config: PPOConfig, num_envs: int) -> dict[str, Any]:
    """Return the settings of a config as arguments of Stable-Baselines3's `PPO`.

    Raises:
        InvalidInputError: where the minibatches do not divide a rollout.
    """
    batch, rate = num_envs * config.n_steps, config.learning_rate
    if batch % config.n_minibatches:
        raise InvalidInputError(f"n_minibatches: {config.n_minibatches} does not divide a rollout of {batch} steps")
    return {
        "learning_rate": rate if config.lr_schedule == "constant" else lambda remaining: rate * remaining,
        "n_steps": config.n_steps,
        "batch_size": batch // config.n_minibatches,
        "n_epochs": config.n_epochs,
        "gamma": config.gamma,
        "gae_lambda": config.gae_lambda,
        "clip_range": config.clip,
        "ent_coef": config.entropy,
        "vf_coef": config.value,
        "max_grad_norm": config.max_grad_norm,
    }


def gigaflops_of_minibatch(model: PPO) -> float:
    """Return the floating-point operations of a gradient step, in billions: three forward passes of a minibatch."""
    observation = torch.zeros(1, *model.observation_space.shape or (), device=model.device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.policy.predict_values(observation)
    return 3e-9 * float(counter.get_total_flops() * model.batch_size)


def train_ppo(
    model: PPO,
    card: AgentCard,
    config: TrainConfig,
    folder: Path,
    *,
    anchor_images: NDArray[Any] | None = None,
    resume: bool = False,
    progress: Style = "auto",
    on_progress: Callable[[int, int], None] | None = None,
) -> TrainingResult:
    """Train the agent that a card describes, with evaluations, checkpoints, TensorBoard and progress.

    Args:
        model: from `build_ppo` with the same card.
        card: the agent's card.
        config: says for how long, and how often to evaluate and to write checkpoints.
        folder: where TensorBoard events and checkpoints go.
        anchor_images: observations `(k, ...)`; needed by a relative encoder.
        resume: continue from the newest checkpoint in `folder`.
        progress: a `bar` or `lines` with rate and time left; `auto`: a bar where there is a terminal.
        on_progress: called with the environment steps done and those wanted, once a rollout.

    Raises:
        InvalidInputError: where a relative encoder comes without anchors.
        ArtefactError: where a checkpoint is damaged or belongs to another network.
    """
    model.set_logger(configure(str(folder), ["tensorboard"]))
    checkpoints = list_checkpoints(folder / "checkpoints") if resume else []
    state = load_checkpoint(model, checkpoints[-1]) if checkpoints else TrainingState()
    stop = StopCallback(state, config.stop_at_success, config.stop_patience)
    every, episodes = config.evaluation.every_steps, config.evaluation.episodes
    quarter = None if config.evaluation.video is True else max(1, config.total_steps // 4)
    callbacks: list[BaseCallback] = []
    fresh = not checkpoints and config.start.encoder is None
    moving = config.start.freeze != "encoder"
    if moving and not is_image(card.observation_shape):  # first: evaluations and checkpoints have the new statistics
        callbacks.append(NormalizationCallback(random_observations(card.world, seed=card.seed) if fresh else None))
    callbacks += [
        EvaluationCallback(card, state, every=every, episodes=episodes, ended=stop.reached),
        stop,
        SettingsCallback(config.resolved()),
        ObservationCallback(card.observation_shape),
        CheckpointCallback(folder / "checkpoints", state, seed=card.seed, every=config.checkpoint.every_steps),
    ]
    if config.evaluation.video:
        callbacks.append(VideoCallback(card, state, every=quarter, style=progress))
    if moving and isinstance(model.policy.encoder, RelativeEncoder):
        images = _anchor_tensor(anchor_images, model.device)
        callbacks.append(AnchorCallback(images, config.relative.alpha, fresh=fresh))
    callbacks.append(ProgressCallback(card.name, state, config.total_steps, progress, on_progress))
    return run_training(model, card, state, config.total_steps, callbacks, reached=stop.reached)


def run_training(
    model: PPO,
    card: AgentCard,
    state: TrainingState,
    total_steps: int,
    callbacks: Sequence[BaseCallback],
    *,
    reached: Callable[[], bool] = lambda: False,
) -> TrainingResult:
    """Run the training loop until `total_steps`, until it is `reached`, or until Ctrl-C; close the environments."""
    started, seconds_before = time.perf_counter(), state.seconds
    ended: Literal["finished", "reached", "interrupted"] = "finished"
    remaining = total_steps - model.num_timesteps
    try:
        if remaining > 0 and not reached():
            reseed(model, card.seed, state.number)
            model.learn(remaining, callback=CallbackList(list(callbacks)), reset_num_timesteps=False)
        if reached():
            ended = "reached"
    except KeyboardInterrupt:
        ended = "interrupted"
    finally:
        environments = model.get_env()
        if environments is not None:
            environments.close()
        model.logger.close()
    return TrainingResult(
        agent=best_agent(model, card, state),
        steps=int(model.num_timesteps),
        best_steps=state.best_steps if state.best_score is not None else int(model.num_timesteps),
        seconds=seconds_before + time.perf_counter() - started,
        ended=ended,
        last=current_agent(model, card),
        history=state.history,
    )


def _anchor_tensor(images: NDArray[Any] | None, device: torch.device) -> torch.Tensor:
    if images is None:
        raise InvalidInputError("anchor_images: a relative encoder needs the images of its anchor set")
    return encoder_input(torch.from_numpy(np.ascontiguousarray(images)).to(device))
