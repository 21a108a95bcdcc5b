"""Weights in half precision: rounded to what float16 holds, and stored in half the size."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from rlstitch.agents.agent import Agent
from rlstitch.errors import InvalidInputError


def half_precision(agent: Agent) -> Agent:
    """Return a copy of an agent whose trained weights are rounded to float16.

    It computes in float32, as every agent, so that what is evaluated is what `save_agent` stores. Anchors,
    normalizations and translations keep their precision.

    Raises:
        InvalidInputError: where a weight is beyond the range of float16, 65,504.
    """
    made = Agent(copy.deepcopy(agent.encoder), copy.deepcopy(agent.controller), agent.card)
    for part in ("encoder", "controller"):
        for name, weights in _singles(getattr(made, part)).items():
            rounded = weights.detach().half().float()
            if not torch.isfinite(rounded).all():
                raise InvalidInputError(f"{part}: weights {name!r}: expected at most 65,504 in size, as float16 holds")
            weights.data = rounded
    return made


def stored_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of an encoder or a controller as they are stored.

    Trained weights are float16 where that holds all of them exactly, which is so after `half_precision` alone.
    """
    singles = _singles(module)
    halves = {name: weights.detach().half() for name, weights in singles.items()}
    exact = all(torch.equal(halves[name].float(), weights) for name, weights in singles.items())
    return {**module.state_dict(), **halves} if exact else module.state_dict()


def _singles(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the trained weights of float32; those of a user's own module may be of another type, and stay so."""
    return {name: weights for name, weights in module.named_parameters() if weights.dtype == torch.float32}


def widened(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a file as modules take them: float16 becomes float32."""
    return {name: value.float() if value.dtype == torch.float16 else value for name, value in tensors.items()}
