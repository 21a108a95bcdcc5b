"""Fit an encoder by regression on the latents of another agent, and on the action distribution that they give."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rlstitch.agents import Controller, Encoder, build_encoder
from rlstitch.agents.encoder import CNNEncoder, CropEncoder
from rlstitch.jobs.progress import OnProgress, silent
from rlstitch.stitching.actions import action_divergence, compare_actions
from rlstitch.stitching.graft.locate import fit_locator
from rlstitch.stitching.graft.states import States

Divergence = Literal["forward", "reverse"]
BATCH = 128
_FIRST = ("convolutions.0.weight", "convolutions.0.bias")
SCALED = 500
"""States, about, that decide how inputs are scaled."""


class Contrast:
    """The first convolution of an encoder of stacked images, in other coordinates of their channels.

    Every image of a stack but the newest is replaced by its change to the next, and all is scaled to mean 0 and
    variance 1: what moves between two images is a hundredth of what they show, and would be learned last. The map is
    linear, so that the convolution takes it up.

    Args:
        images: `(N, C, H, W)` in [0, 1], from which the scales are taken.
        frames: images in a stack.
    """

    def __init__(self, images: Tensor, frames: int) -> None:
        channels = images.shape[1]
        identity, width = torch.eye(channels), channels // frames
        change = identity.clone()
        change[: channels - width] = identity[width:] - identity[: channels - width]
        deviation, mean = torch.std_mean(torch.einsum("oc,nchw->onhw", change, images).flatten(1), dim=1)
        deviation = deviation.clamp_min(1e-3)
        self._matrix, self._offset = change / deviation[:, None], -mean / deviation

    def plain(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Return weight `(O, C, h, w)` and bias `(O,)` of the convolution of plain images."""
        return (
            torch.einsum("oihw,ic->ochw", weight, self._matrix),
            bias + torch.einsum("oihw,i->o", weight, self._offset),
        )


@dataclass(frozen=True)
class HeldOutFit:
    """How an encoder agrees with the controller's own on states that it was not fitted on."""

    states: int
    r2_latents: tuple[float | None, ...]
    """R² of each latent; None of one that is constant."""
    r2_state: tuple[float | None, ...]
    """R² of each number of the state vector, read linearly from the new latents; empty where the own sensor gives
    images."""
    agreement: float
    """Share of states with the same greedy action."""
    kl: float
    """Mean KL divergence, in nats, of the action distribution from that of the controller's own agent."""


class EncoderFit:
    """An encoder that is fitted, from round to round, on more and more states.

    Args:
        spec: of the encoder.
        frames: images in a stack.
        seed: of the first weights.
    """

    def __init__(self, spec: dict[str, Any], frames: int, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.encoder = build_encoder(spec)
        self.contrast: Contrast | None = None
        self._frames, self._seed = frames, seed

    @property
    def _fitted(self) -> nn.Module:
        """The layers that are fitted on all states."""
        return self.encoder.reader if isinstance(self.encoder, CropEncoder) else self.encoder

    def prepare(self, states: States) -> None:
        """Let the states of the first round decide how inputs are scaled, and how an object is found in images."""
        if isinstance(self.encoder, CropEncoder):
            fit_locator(self.encoder.locator, states, seed=self._seed)
            return
        inputs = states.inputs(torch.arange(0, len(states), 1 + len(states) // SCALED))
        if isinstance(self.encoder, CNNEncoder):
            self.contrast = Contrast(inputs, self._frames)
        else:
            self.encoder.observe(inputs)

    def taken(self, states: States) -> States:
        """Return states as the layers that are fitted take them: of images cut around an object its squares."""
        return states.seen_by(self.encoder.locator) if isinstance(self.encoder, CropEncoder) else states

    def finished(self) -> Encoder:
        """Return a copy of the encoder as it is now."""
        finished = copy.deepcopy(self.encoder)
        finished.load_state_dict(self._plain(self.encoder))
        return finished.eval()

    def _plain(self, module: nn.Module) -> dict[str, Tensor]:
        """Return the weights of the encoder, or of its fitted layers, for plain observations; gradients flow through
        them.
        """
        state: dict[str, Tensor] = module.state_dict(keep_vars=True)
        if self.contrast is not None:
            state[_FIRST[0]], state[_FIRST[1]] = self.contrast.plain(*(state[name] for name in _FIRST))
        return state

    def train(
        self,
        states: States,
        controller: Controller,
        *,
        steps: int,
        learning_rate: float,
        weights: tuple[float, float],
        divergence: Divergence = "forward",
        seed: int,
        on_progress: OnProgress = silent,
    ) -> None:
        """Fit the encoder by Adam: squared errors of the latents in units of their deviations, and the KL divergence
        of actions.

        Args:
            states: as `taken` returns them.
            controller: is not changed.
            steps: of the optimizer.
            learning_rate: at the first step; it decays to 0 by a cosine.
            weights: of the errors and of the divergence.
            divergence: forward: that of the controller's own actions from the new ones, which gives every action that
                the controller may take its probability; reverse: that of the new actions from the controller's own,
                which leaves out what the controller would not do where the observation leaves that open.
            seed: of the batches.
            on_progress: called with the steps done and those in all.
        """
        generator = torch.Generator().manual_seed(seed)
        rows = torch.nonzero(~states.held).flatten()
        unit = states.latents[rows].std(dim=0).clamp_min(1e-3)
        fitted = self._fitted.train()
        optimizer = torch.optim.Adam(fitted.parameters(), lr=learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        controller = copy.deepcopy(controller).requires_grad_(False)
        for step in range(steps):
            on_progress(step, steps)
            batch = rows[torch.randint(len(rows), (BATCH,), generator=generator)]
            latents = torch.func.functional_call(fitted, self._plain(fitted), (states.inputs(batch),))
            errors = ((latents - states.latents[batch]) / unit) ** 2
            pair = (controller.action_parameters(latents), states.actions[batch])
            kl = action_divergence(controller, *(pair if divergence == "forward" else pair[::-1]))
            optimizer.zero_grad(set_to_none=True)
            (weights[0] * errors.mean() + weights[1] * kl.mean()).backward()
            optimizer.step()
            schedule.step()
        on_progress(steps, steps)
        fitted.eval()

    @torch.no_grad()
    def latents(self, states: States) -> Tensor:
        """Return the latents `(n, latent_dim)` of states as `taken` returns them."""
        fitted = self._fitted
        rows = torch.arange(len(states)).split(1024)
        return torch.cat(
            [torch.func.functional_call(fitted, self._plain(fitted), (states.inputs(part),)) for part in rows]
        )


@torch.no_grad()
def held_out_fit(latents: Tensor, states: States, controller: Controller) -> HeldOutFit:
    """Compare the latents of states with the controller's own on those that are held out."""
    held = states.held
    changes = compare_actions(controller, controller.action_parameters(latents[held]), states.actions[held])
    own = states.own.double()
    inputs = torch.cat([latents.double(), torch.ones(len(states), 1, dtype=torch.float64)], dim=1)
    readout = torch.linalg.pinv(inputs[~held]) @ own[~held]
    return HeldOutFit(
        states=int(held.sum()),
        r2_latents=_r2(latents[held], states.latents[held]),
        r2_state=_r2(inputs[held] @ readout, own[held]),
        agreement=changes.agreement,
        kl=changes.mean_kl,
    )


def _r2(predicted: Tensor, true: Tensor) -> tuple[float | None, ...]:
    residual, total = ((true - predicted) ** 2).sum(dim=0), ((true - true.mean(dim=0)) ** 2).sum(dim=0)
    return tuple(1 - float(r) / float(t) if t > 0 else None for r, t in zip(residual, total, strict=True))
