"""Stable-Baselines3's PPO around our encoder and controller: a card that says what to train -> an Agent."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import configure

from rlstitch.agents.agent import Agent
from rlstitch.agents.card import AgentCard
from rlstitch.agents.encoder import RelativeEncoder
from rlstitch.envs import StableBaselinesVecEnv, make_vec
from rlstitch.errors import InvalidInputError
from rlstitch.jobs.progress import Style
from rlstitch.training.buffer import DistinctRolloutBuffer
from rlstitch.training.callbacks import AnchorCallback, CheckpointCallback, EvaluationCallback
from rlstitch.training.checkpoint import Progress, list_checkpoints, load_checkpoint, reseed
from rlstitch.training.policy import EncoderControllerPolicy, EncoderExtractor, Precision
from rlstitch.training.progress import ProgressCallback


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
    history: list[dict[str, float | None]]
    """One row an evaluation: steps, return, success (None where the world knows none), length."""


def build_ppo(
    card: AgentCard,
    *,
    num_envs: int = 16,
    n_steps: int = 128,
    n_epochs: int = 4,
    n_minibatches: int = 4,
    learning_rate: float = 2.5e-4,
    lr_schedule: Literal["constant", "linear"] = "linear",
    gamma: float = 0.99,
    gae_lambda: float = 0.95,
    clip: float = 0.2,
    entropy: float = 0.01,
    value: float = 0.5,
    max_grad_norm: float = 0.5,
    reward_scale: float = 1.0,
    device: str = "cpu",
    precision: Precision = "float32",
    workers: int = 0,
) -> PPO:
    """Make Stable-Baselines3's PPO around the encoder and controller that a card describes, in the card's world.

    Args:
        card: world, seed and the specifications of encoder and controller.
        num_envs, n_steps, n_epochs, n_minibatches: a rollout is `num_envs * n_steps` steps, used `n_epochs` times in
            `n_minibatches` batches.
        learning_rate, lr_schedule: of Adam; `linear` anneals it to 0.
        gamma, gae_lambda, clip, entropy, value, max_grad_norm: as in Schulman et al. 2017.
        reward_scale: factor on the rewards that are learned from: where returns are in the hundreds, errors of the
            values would drown the gradient of the policy. Returns are reported as they are.
        device: torch device.
        precision: `bfloat16` computes the encoder in mixed precision, which pays with large encoders.
        workers: above 0, environments that draw themselves run in processes of their own.

    Raises:
        InvalidInputError: where the minibatches do not divide a rollout.
    """
    batch = num_envs * n_steps
    if batch % n_minibatches:
        raise InvalidInputError(f"n_minibatches: {n_minibatches} does not divide a rollout of {batch} steps")
    return PPO(
        EncoderControllerPolicy,
        StableBaselinesVecEnv(
            make_vec(card.world, num_envs, seed=card.seed, workers=workers), reward_scale=reward_scale
        ),
        learning_rate=_schedule(learning_rate, lr_schedule),
        n_steps=n_steps,
        batch_size=batch // n_minibatches,
        n_epochs=n_epochs,
        gamma=gamma,
        gae_lambda=gae_lambda,
        clip_range=clip,
        ent_coef=entropy,
        vf_coef=value,
        max_grad_norm=max_grad_norm,
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


def train_ppo(
    model: PPO,
    card: AgentCard,
    folder: Path,
    *,
    total_steps: int,
    evaluate_every: int = 16_384,
    evaluation_episodes: int = 64,
    stop_at_success: float | None = None,
    stop_patience: int = 1,
    film: bool = True,
    checkpoint_every: int = 32_768,
    anchor_images: NDArray[np.uint8] | None = None,
    alpha: float = 0.999,
    resume: bool = False,
    progress: Style = "auto",
    on_progress: Callable[[int, int], None] | None = None,
) -> TrainingResult:
    """Train the agent that a card describes.

    Args:
        model: from `build_ppo` with the same card.
        card: the agent's card.
        folder: where TensorBoard events and checkpoints go.
        total_steps: environment steps to train for.
        evaluate_every, evaluation_episodes: a sampled evaluation of so many episodes every so many steps.
        stop_at_success, stop_patience: end once so many evaluations in a row reach this success rate (None: never).
        film: write an evaluation video to TensorBoard.
        checkpoint_every: steps between checkpoints; generators are seeded anew at each.
        anchor_images: uint8 `(k, H, W, C)`; needed by a relative encoder.
        alpha: share of the anchors' embeddings that stays at each update (R3L: 0.999).
        resume: continue from the newest checkpoint in `folder`.
        progress: a `bar` or `lines` with rate and time left; `auto`: a bar where there is a terminal.
        on_progress: called with the environment steps done and those wanted, once a rollout.

    Raises:
        InvalidInputError: where a relative encoder comes without anchors.
        ArtefactError: where a checkpoint is damaged or belongs to another network.
    """
    model.set_logger(configure(str(folder), ["tensorboard"]))
    counters, best = Progress(), None
    checkpoints = list_checkpoints(folder / "checkpoints") if resume else []
    if checkpoints:
        counters, best = load_checkpoint(model, checkpoints[-1])
    evaluation = EvaluationCallback(
        card,
        counters,
        best,
        every=evaluate_every,
        episodes=evaluation_episodes,
        stop_at_success=stop_at_success,
        stop_patience=stop_patience,
        film=film,
    )
    callbacks: list[BaseCallback] = [
        evaluation,
        CheckpointCallback(folder / "checkpoints", counters, evaluation, seed=card.seed, every=checkpoint_every),
    ]
    if isinstance(model.policy.encoder, RelativeEncoder):
        images = _anchor_tensor(anchor_images, model.device)
        callbacks.append(AnchorCallback(images, alpha, fresh=not checkpoints))
    callbacks.append(ProgressCallback(total_steps, evaluation, progress, on_progress))
    return _run(model, card, callbacks, counters, evaluation, total_steps)


def _run(
    model: PPO,
    card: AgentCard,
    callbacks: list[BaseCallback],
    counters: Progress,
    evaluation: EvaluationCallback,
    total_steps: int,
) -> TrainingResult:
    started, seconds_before = time.perf_counter(), counters.seconds
    ended: Literal["finished", "reached", "interrupted"] = "finished"
    remaining = total_steps - model.num_timesteps
    try:
        if remaining > 0 and not evaluation.reached:
            reseed(model, card.seed, counters.number)
            model.learn(remaining, callback=CallbackList(callbacks), reset_num_timesteps=False)
            evaluation.final()
        if evaluation.reached:
            ended = "reached"
    except KeyboardInterrupt:
        ended = "interrupted"
    finally:
        environments = model.get_env()
        if environments is not None:
            environments.close()
        model.logger.close()
    return TrainingResult(
        agent=evaluation.best_agent(),
        steps=int(model.num_timesteps),
        best_steps=counters.best_steps if counters.best_score is not None else int(model.num_timesteps),
        seconds=seconds_before + time.perf_counter() - started,
        ended=ended,
        last=evaluation.current_agent(),
        history=counters.history,
    )


def _schedule(learning_rate: float, kind: str) -> Callable[[float], float] | float:
    if kind == "constant":
        return learning_rate

    def linear(remaining: float) -> float:
        return learning_rate * remaining

    return linear


def _anchor_tensor(images: NDArray[np.uint8] | None, device: torch.device) -> torch.Tensor:
    if images is None:
        raise InvalidInputError("anchor_images: a relative encoder needs the images of its anchor set")
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).to(device).float().div_(255.0)
