"""What happens beside the gradient steps: evaluation, checkpoints, anchors, progress."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import TensorBoardOutputFormat
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from rlstitch.agents.agent import Agent
from rlstitch.agents.card import AgentCard
from rlstitch.agents.controller import build_controller
from rlstitch.agents.encoder import RelativeEncoder, build_encoder
from rlstitch.rollouts.evaluation import evaluate
from rlstitch.rollouts.panels import Frame
from rlstitch.rollouts.video import encode_gif, record
from rlstitch.training.checkpoint import Progress, reseed, save_checkpoint

_EVALUATION_SEED = 1_000_003  # never a training seed's own stream


class EvaluationCallback(BaseCallback):
    """Evaluate at the start of a rollout every `every` steps, keep the best weights, film, and end when good enough."""

    def __init__(
        self,
        card: AgentCard,
        progress: Progress,
        best: dict[str, Tensor] | None,
        *,
        every: int,
        episodes: int,
        stop_at_success: float | None,
        stop_patience: int,
        film: bool,
    ) -> None:
        super().__init__()
        self.card = card
        self.progress = progress
        self.best = best
        self.every = every
        self.episodes = episodes
        self.stop_at_success = stop_at_success
        self.stop_patience = stop_patience
        self.film = film
        self._next = (progress.steps // every + 1) * every

    @property
    def reached(self) -> bool:
        """Whether the last `stop_patience` evaluations all reached the wanted success rate."""
        if self.stop_at_success is None or len(self.progress.history) < self.stop_patience:
            return False
        recent = self.progress.history[-self.stop_patience :]
        return all((row["success"] or 0.0) >= self.stop_at_success for row in recent)

    def _on_training_start(self) -> None:
        writer = _writer(self)
        if writer is not None and self.num_timesteps == 0:
            observations = np.asarray(self.model._last_obs)[:8]
            if observations.shape[1] not in (1, 3):  # of stacked images the newest
                observations = observations[:, -3:] if observations.shape[1] % 3 == 0 else observations[:, -1:]
            writer.add_images("observations/sample", observations, 0, dataformats="NCHW")

    def _on_rollout_start(self) -> None:
        if self.num_timesteps >= self._next:
            self._next = (self.num_timesteps // self.every + 1) * self.every
            self._evaluate()

    def _on_step(self) -> bool:
        return not self.reached

    def final(self) -> None:
        """Evaluate the last weights once more, after the last update."""
        if not self.reached:
            self._evaluate()

    def _evaluate(self) -> None:
        agent = self.current_agent()
        outcome = evaluate(agent, episodes=self.episodes, seed=_EVALUATION_SEED + self.card.seed)
        success = None if outcome.successes is None else float(outcome.successes.mean())
        mean_return = float(outcome.returns.mean())
        self.progress.history.append(
            {
                "steps": int(self.num_timesteps),
                "return": mean_return,
                "success": success,
                "length": float(outcome.lengths.mean()),
            }
        )
        self.logger.record("evaluation/return", mean_return)
        if success is not None:
            self.logger.record("evaluation/success", success)
        self.logger.record("evaluation/length", float(outcome.lengths.mean()))
        # Worlds that know no success are judged by their return alone.
        score = (success or 0.0, mean_return)
        if self.progress.best_score is None or score >= self.progress.best_score:
            self.progress.best_score = score
            self.progress.best_steps = int(self.num_timesteps)
            self.best = _weights(agent)
            if self.film:
                self._film(agent)

    def current_agent(self) -> Agent:
        """Return the agent as it is now (a copy on the CPU)."""
        policy: Any = self.model.policy
        return Agent(policy.encoder_copy(), policy.controller(), self.card)

    def best_agent(self) -> Agent:
        """Return the agent of the best evaluation; the current one where there was none."""
        if self.best is None:
            return self.current_agent()
        encoder, controller = build_encoder(self.card.encoder), build_controller(self.card.controller)
        encoder.load_state_dict(_part(self.best, "encoder."))
        controller.load_state_dict(_part(self.best, "controller."))
        return Agent(encoder, controller, self.card)

    def _film(self, agent: Agent) -> None:
        writer = _writer(self)
        if writer is not None:
            video = record(agent, episodes=1, seed=_EVALUATION_SEED)
            add_gif(writer, "evaluation/video", video.frames, step=int(self.num_timesteps))


class CheckpointCallback(BaseCallback):
    """Write a checkpoint every `every` steps at the start of a rollout, and draw new seeds there."""

    def __init__(
        self, folder: Path, progress: Progress, evaluation: EvaluationCallback, *, seed: int, every: int
    ) -> None:
        super().__init__()
        self.folder = folder
        self.progress = progress
        self.evaluation = evaluation
        self.seed = seed
        self.every = every
        self._started = time.perf_counter()
        self._seconds_before = progress.seconds

    def _on_rollout_start(self) -> None:
        if self.num_timesteps < (self.progress.number + 1) * self.every:
            return
        self.progress.number = int(self.num_timesteps // self.every)
        self.progress.steps = int(self.num_timesteps)
        self.progress.updates = int(self.model._n_updates)
        self.progress.seconds = self._seconds_before + time.perf_counter() - self._started
        save_checkpoint(self.model, self.folder, self.progress, self.evaluation.best)
        reseed(self.model, self.seed, self.progress.number)

    def _on_step(self) -> bool:
        return True


class AnchorCallback(BaseCallback):
    """Let the anchors' embeddings follow the encoder, once an update, before the rollout.

    Moved after the rollout the features would change before the update, and its probability ratios would not start
    at 1.
    """

    def __init__(self, images: Tensor, alpha: float, *, fresh: bool) -> None:
        super().__init__()
        self.images = images
        self.alpha = alpha
        self.fresh = fresh

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

    def _on_step(self) -> bool:
        return True


def _weights(agent: Agent) -> dict[str, Tensor]:
    return {
        **{f"encoder.{name}": value.clone() for name, value in agent.encoder.state_dict().items()},
        **{f"controller.{name}": value.clone() for name, value in agent.controller.state_dict().items()},
    }


def _part(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def _writer(callback: BaseCallback) -> SummaryWriter | None:
    for output in callback.logger.output_formats:
        if isinstance(output, TensorBoardOutputFormat):
            writer: SummaryWriter = output.writer
            return writer
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
    picture = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=buffer.getvalue())
    writer._get_file_writer().add_summary(Summary(value=[Summary.Value(tag=tag, image=picture)]), step)
