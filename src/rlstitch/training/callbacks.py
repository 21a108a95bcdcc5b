"""Callbacks of a training: evaluation, images, videos, early stop, checkpoints, anchors, progress."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import HParam, TensorBoardOutputFormat
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from rlstitch.agents import Agent, AgentCard, RelativeEncoder, build_controller, build_encoder
from rlstitch.config.keys import flatten
from rlstitch.envs import Shape, is_image
from rlstitch.errors import RlstitchError
from rlstitch.jobs.progress import ProgressReporter, Style
from rlstitch.rollouts.display import Frame
from rlstitch.rollouts.evaluation import evaluate
from rlstitch.rollouts.video import encode_gif, record
from rlstitch.training.checkpoint import TrainingState, reseed, save_checkpoint

_PLAIN = (bool, int, float, str)
_METRICS = ("evaluation/return", "evaluation/success", "rollout/ep_rew_mean")
"""Curves that the tab HPARAMS of TensorBoard compares trainings by."""
_EVALUATION_SEED = 1_000_003  # never a training seed's own stream
_FRAMES = 100  # of a video: an agent that has learnt nothing need not be shown to the end


class Callback(BaseCallback):
    """A callback that lets every step pass."""

    def _on_step(self) -> bool:
        return True


class EvaluationCallback(Callback):
    """Evaluate at the start of a rollout every `every` steps and after the last update; keep the best weights.

    Args:
        card: the agent's card.
        state: takes the results.
        every: environment steps.
        episodes: of an evaluation, sampled.
        ended: asked after the last update whether the training ended early, on an evaluation of these weights.
    """

    def __init__(
        self, card: AgentCard, state: TrainingState, *, every: int, episodes: int, ended: Callable[[], bool]
    ) -> None:
        super().__init__()
        self.card, self.state, self.every, self.episodes, self.ended = card, state, every, episodes, ended
        self._next = (state.steps // every + 1) * every

    def _on_rollout_start(self) -> None:
        if self.num_timesteps >= self._next:
            self._next = (self.num_timesteps // self.every + 1) * self.every
            self._evaluate()

    def _on_training_end(self) -> None:
        if not self.ended():
            self._evaluate()

    def _evaluate(self) -> None:
        agent = current_agent(self.model, self.card)
        outcome = evaluate(agent, episodes=self.episodes, seed=_EVALUATION_SEED + self.card.seed)
        success = None if outcome.successes is None else float(outcome.successes.mean())
        mean_return, length = float(outcome.returns.mean()), float(outcome.lengths.mean())
        steps, state = int(self.num_timesteps), self.state
        state.history.append({"steps": steps, "return": mean_return, "success": success, "length": length})
        for name, value in (("return", mean_return), ("success", success), ("length", length)):
            if value is not None:
                self.logger.record(f"evaluation/{name}", value)
        # Worlds that know no success are judged by their return alone.
        score = (success or 0.0, mean_return)
        if state.best_score is None or score >= state.best_score:
            state.best_score, state.best_steps, state.best = score, steps, _parts(agent).state_dict()


class SettingsCallback(Callback):
    """Write the config of a training to TensorBoard at its start: as text, and as hyperparameters (tab HPARAMS)."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.settings = settings

    def _on_training_start(self) -> None:
        writer = _writer(self)
        if writer is None or self.num_timesteps > 0:
            return
        text = yaml.safe_dump(dict(self.settings), sort_keys=False)
        writer.add_text("config", "\n".join(f"    {line}" for line in text.splitlines()))
        flat = flatten(self.settings, [])
        plain = {key: value if isinstance(value, _PLAIN) else json.dumps(value) for key, value in flat.items()}
        self.logger.record("hparams", HParam(plain, dict.fromkeys(_METRICS, 0.0)))
        self.logger.dump()


class ObservationCallback(Callback):
    """Write images that the environments show at the start of a training to TensorBoard.

    Args:
        shape: of observations.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    def _on_training_start(self) -> None:
        writer = _writer(self)
        if writer is not None and self.num_timesteps == 0 and is_image(self.shape):
            observations = np.asarray(self.model._last_obs)[:8]
            if observations.shape[1] not in (1, 3):  # of stacked images the newest
                observations = observations[:, -3:] if observations.shape[1] % 3 == 0 else observations[:, -1:]
            writer.add_images("observations/sample", observations, 0, dataformats="NCHW")


class VideoCallback(Callback):
    """Write videos of the agent to TensorBoard, until one cannot be made.

    Args:
        card: the agent's card.
        state: says which evaluation was the best.
        every: environment steps between two videos, beside one at the end; None: one of each best agent.
        style: how a video that cannot be made is reported.
    """

    def __init__(self, card: AgentCard, state: TrainingState, *, every: int | None, style: Style) -> None:
        super().__init__()
        self.card, self.state, self.every, self.style = card, state, every, style
        self._last = self._due(state.steps)
        self._failed = False

    def _due(self, steps: int) -> int:
        """Return a number that grows when a video is due."""
        return self.state.best_steps if self.every is None else steps // self.every

    def _on_rollout_start(self) -> None:
        if (due := self._due(self.num_timesteps)) > self._last:
            self._last = due
            self._record()

    def _on_training_end(self) -> None:
        if self.every is None:
            self._on_rollout_start()
        else:
            self._record()

    def _record(self) -> None:
        writer = _writer(self)
        if writer is None or self._failed:
            return
        with torch.random.fork_rng(devices=[]):  # the copy draws initial weights; a video must not change training
            agent = current_agent(self.model, self.card)
        try:
            frames = islice(record(agent, seed=_EVALUATION_SEED).frames, _FRAMES)
            add_gif(writer, "evaluation/video", frames, step=int(self.num_timesteps))
        except RlstitchError as error:
            self._failed = True
            ProgressReporter(style=self.style).write(f"{self.card.name}: no videos in TensorBoard: {error}")


class StopCallback(BaseCallback):
    """End the training once the last `patience` evaluations all reached a success rate (None: never)."""

    def __init__(self, state: TrainingState, success: float | None, patience: int) -> None:
        super().__init__()
        self.state, self.success, self.patience = state, success, patience

    def reached(self) -> bool:
        """Return whether they did."""
        return self.state.reached(self.success, self.patience)

    def _on_step(self) -> bool:
        return not self.reached()


class CheckpointCallback(Callback):
    """Write a checkpoint every `every` steps at the start of a rollout, and draw new seeds there."""

    def __init__(self, folder: Path, state: TrainingState, *, seed: int, every: int) -> None:
        super().__init__()
        self.folder, self.state, self.seed, self.every = folder, state, seed, every
        self._started, self._seconds_before = time.perf_counter(), state.seconds

    def _on_rollout_start(self) -> None:
        state = self.state
        if self.num_timesteps < (state.number + 1) * self.every:
            return
        state.number = int(self.num_timesteps // self.every)
        state.steps = int(self.num_timesteps)
        state.updates = int(self.model._n_updates)
        state.seconds = self._seconds_before + time.perf_counter() - self._started
        save_checkpoint(self.model, self.folder, state)
        reseed(self.model, self.seed, state.number)


class AnchorCallback(Callback):
    """Let the anchors' embeddings follow the encoder, once an update, before the rollout.

    Moved after the rollout the features would change before the update, and its probability ratios would not start
    at 1.
    """

    def __init__(self, images: Tensor, alpha: float, *, fresh: bool) -> None:
        super().__init__()
        self.images, self.alpha, self.fresh = images, alpha, fresh

    def _on_rollout_start(self) -> None:
        policy: Any = self.model.policy
        encoder = policy.encoder
        if not isinstance(encoder, RelativeEncoder):
            return
        if self.fresh:
            # Only now: Stable-Baselines3 initialises every layer again after the encoder was built.
            with torch.no_grad():
                encoder.set_anchors(encoder.base(self.images))
            self.fresh = False
            return
        self.logger.record("anchors/drift", encoder.update_anchors(self.images, self.alpha))


class ProgressCallback(BaseCallback):
    """Report how far a training is: on standard error as `style` says, and to `on_progress` once a rollout."""

    def __init__(
        self,
        name: str,
        state: TrainingState,
        total_steps: int,
        style: Style = "auto",
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        super().__init__()
        self.state, self.total_steps, self.on_progress = state, total_steps, on_progress
        self._reporter = ProgressReporter("steps", name=name, style=style)
        self._evaluations = 0

    def _on_training_start(self) -> None:
        self._evaluations = len(self.state.history)
        self._report()

    def _on_step(self) -> bool:
        self._report()
        return True

    def _on_rollout_start(self) -> None:
        if self.on_progress is not None:
            self.on_progress(self.num_timesteps, self.total_steps)
        if len(self.state.history) > self._evaluations:
            self._evaluations = len(self.state.history)
            self._report()
            self._reporter.show()

    def _report(self) -> None:
        history = self.state.history
        self._reporter(self.num_timesteps, self.total_steps, _note(history[-1]) if history else "")

    def _on_training_end(self) -> None:
        self._reporter.close()


def _note(row: dict[str, float | None]) -> str:
    """Return an evaluation in words, without success in a world that has none."""
    success = "" if row["success"] is None else f"success {row['success']:.0%}, "
    return f"{success}return {row['return']:.3f}"


def current_agent(model: BaseAlgorithm, card: AgentCard) -> Agent:
    """Return the agent as it is now (a copy on the CPU)."""
    policy: Any = model.policy
    return Agent(policy.encoder_copy(), policy.controller(), card)


def best_agent(model: BaseAlgorithm, card: AgentCard, state: TrainingState) -> Agent:
    """Return the agent of the best evaluation; the current one where there was none."""
    if state.best is None:
        return current_agent(model, card)
    agent = Agent(build_encoder(card.encoder), build_controller(card.controller), card)
    _parts(agent).load_state_dict(state.best)
    return agent


def _parts(agent: Agent) -> nn.ModuleDict:
    return nn.ModuleDict({"encoder": agent.encoder, "controller": agent.controller})


def _writer(callback: BaseCallback) -> SummaryWriter | None:
    for output in callback.logger.output_formats:
        if isinstance(output, TensorBoardOutputFormat):
            return output.writer
    return None


def add_gif(writer: SummaryWriter, tag: str, frames: Iterable[Frame], *, step: int, fps: int = 8) -> None:
    """Write frames uint8 `(H, W, 3)` to TensorBoard as an animated image.

    torch's `add_video` needs a moviepy that no longer exists and then writes nothing, in silence.
    """
    from tensorboard.compat.proto.summary_pb2 import Summary

    buffer = io.BytesIO()
    encode_gif(frames, buffer, fps)
    with Image.open(buffer) as image:
        width, height = image.size
    summary = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=buffer.getvalue())
    writer._get_file_writer().add_summary(Summary(value=[Summary.Value(tag=tag, image=summary)]), step)
