"""Controllers: latent -> action (and value)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rlstitch.agents.specs import MAX_PARAMETERS, BoxActions, ControllerSpec, DiscreteActions, parse_controller_spec
from rlstitch.errors import InvalidInputError

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


def build_trunk(spec: ControllerSpec) -> nn.Sequential:
    """Norm, activation, then hidden layers: latents `(N, latent_dim)` -> features `(N, last hidden width)`.

    The order is R3L's (arXiv 2404.12917): LayerNorm - ReLU - Linear - ReLU.
    """
    activation = _ACTIVATIONS[spec.activation]
    layers: list[nn.Module] = []
    if spec.norm == "layer":
        layers += [nn.LayerNorm(spec.latent_dim), activation()]
    width = spec.latent_dim
    for hidden in spec.hidden:
        layers += [nn.Linear(width, hidden), activation()]
        width = hidden
    return nn.Sequential(*layers)


class Controller(nn.Module):
    """Trunk, action head and value head: latents `(N, latent_dim)` -> action parameters `(N, A)` and values `(N,)`.

    Action parameters are logits where actions are discrete, means where they are continuous (with `log_std` beside).
    """

    log_std: nn.Parameter | None

    def __init__(self, spec: ControllerSpec) -> None:
        super().__init__()
        self._spec = spec
        self.trunk = build_trunk(spec)
        width = spec.hidden[-1] if spec.hidden else spec.latent_dim
        self.action_head = nn.Linear(width, spec.actions.width)
        self.value_head = nn.Linear(width, 1)
        if isinstance(spec.actions, BoxActions):
            self.log_std = nn.Parameter(torch.zeros(spec.actions.width))
        else:
            self.register_parameter("log_std", None)

    @property
    def latent_dim(self) -> int:
        """Width of the latents that the controller takes."""
        return self._spec.latent_dim

    @property
    def actions(self) -> DiscreteActions | BoxActions:
        """What actions it gives."""
        return self._spec.actions

    def spec(self) -> dict[str, Any]:
        """Return what `build_controller` needs to make this module again (without weights)."""
        return self._spec.model_dump(mode="json")

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return action parameters `(N, A)` and values `(N,)` of latents `(N, latent_dim)`."""
        features = self.trunk(latents)
        return self.action_head(features), self.value_head(features).squeeze(-1)

    def action_parameters(self, latents: Tensor) -> Tensor:
        """Return the logits or means `(N, A)` alone."""
        parameters: Tensor = self.action_head(self.trunk(latents))
        return parameters


def build_controller(spec: dict[str, Any]) -> Controller:
    """Make the controller that a specification describes, with fresh weights.

    Raises:
        InvalidInputError: where the specification is not one, or describes more than `MAX_PARAMETERS` numbers.
    """
    parsed = parse_controller_spec(spec)
    if isinstance(parsed.actions, BoxActions) and len(parsed.actions.low) != len(parsed.actions.high):
        raise InvalidInputError(
            f"controller specification: actions.low has {len(parsed.actions.low)} numbers, "
            f"actions.high {len(parsed.actions.high)}"
        )
    widths = [parsed.latent_dim, *parsed.hidden]
    numbers = sum(a * b for a, b in zip(widths, [*widths[1:], parsed.actions.width], strict=True))
    if numbers > MAX_PARAMETERS:
        raise InvalidInputError(
            f"controller specification: {numbers:,} parameters, expected at most {MAX_PARAMETERS:,}"
        )
    return Controller(parsed)
