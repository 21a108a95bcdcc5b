"""Controllers: latent -> action (and value)."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn

from rlstitch.agents.specs import BoxActions, ControllerSpec, DiscreteActions, parse_controller_spec
from rlstitch.errors import InvalidInputError
from rlstitch.storage import limits

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


# Keys that came after the first release: at their default they are left out of a specification.
_LATER = ("value_hidden", "value", "temperature")


def build_trunk(spec: ControllerSpec, widths: tuple[int, ...] | None = None) -> nn.Sequential:
    """Norm, activation, then hidden layers: latents `(N, latent_dim)` -> features `(N, last hidden width)`.

    The order is R3L's (arXiv 2404.12917): LayerNorm - ReLU - Linear - ReLU. `widths` stand for `spec.hidden`.
    """
    activation = _ACTIVATIONS[spec.activation]
    layers: list[nn.Module] = []
    if spec.norm == "layer":
        layers += [nn.LayerNorm(spec.latent_dim), activation()]
    elif spec.norm == "relu":
        layers += [nn.ReLU()]
    width = spec.latent_dim
    for hidden in spec.hidden if widths is None else widths:
        layers += [nn.Linear(width, hidden), activation()]
        width = hidden
    return nn.Sequential(*layers)


class Controller(nn.Module):
    """Trunk, action head and value head: latents `(N, latent_dim)` -> action parameters `(N, A)` and values `(N,)`.

    Action parameters are logits where actions are discrete, means where they are continuous (with `log_std` beside).
    The value may have a trunk of its own, or no head: see `ControllerSpec`.
    """

    latent_dim: int
    """Width of the latents that the controller takes."""
    actions: DiscreteActions | BoxActions
    """The actions that it gives."""
    log_std: nn.Parameter | None

    def __init__(self, spec: ControllerSpec) -> None:
        super().__init__()
        self._spec = spec
        self.latent_dim, self.actions = spec.latent_dim, spec.actions
        self.trunk = build_trunk(spec)
        width = spec.hidden[-1] if spec.hidden else spec.latent_dim
        self.action_head = nn.Linear(width, spec.actions.width)
        self.value_trunk: nn.Sequential | None = None
        if spec.value == "head" and spec.value_hidden is not None:
            self.value_trunk = build_trunk(spec, spec.value_hidden)
            width = spec.value_hidden[-1] if spec.value_hidden else spec.latent_dim
        self.value_head: nn.Module = nn.Linear(width, 1) if spec.value == "head" else nn.Identity()
        if isinstance(spec.actions, BoxActions):
            self.log_std = nn.Parameter(torch.zeros(spec.actions.width))
        else:
            self.register_parameter("log_std", None)

    def spec(self) -> dict[str, Any]:
        """Return what `build_controller` needs to make this module again (without weights)."""
        default = {key: ControllerSpec.model_fields[key].default for key in _LATER}
        spec = self._spec.model_dump(mode="json")
        return {key: value for key, value in spec.items() if key not in default or value != default[key]}

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return action parameters `(N, A)` and values `(N,)` of latents `(N, latent_dim)`."""
        features = self.trunk(latents)
        scores = self.action_head(features)
        if self._spec.value == "max":
            values = scores.amax(dim=1)
        elif self._spec.value == "none":
            values = torch.zeros_like(scores[:, 0])
        else:
            base = features if self.value_trunk is None else self.value_trunk(latents)
            values = self.value_head(base).squeeze(-1)
        return self._tempered(scores), values

    def action_parameters(self, latents: Tensor) -> Tensor:
        """Return the logits or means `(N, A)` alone."""
        return self._tempered(self.action_head(self.trunk(latents)))

    def _tempered(self, scores: Tensor) -> Tensor:
        return scores if self._spec.temperature == 1.0 else scores / self._spec.temperature


def build_controller(spec: dict[str, Any], *, most: int = limits.PARAMETERS) -> Controller:
    """Make the controller that a specification describes, with fresh weights.

    Args:
        spec: see `specs`.
        most: numbers that it may hold; of a file the number of its bytes.

    Raises:
        InvalidInputError: where the specification is not one, or describes more numbers.
    """
    parsed = parse_controller_spec(spec)
    if isinstance(parsed.actions, BoxActions) and len(parsed.actions.low) != len(parsed.actions.high):
        raise InvalidInputError(
            f"controller specification: actions.low has {len(parsed.actions.low)} numbers, "
            f"actions.high {len(parsed.actions.high)}"
        )
    if parsed.value == "max" and isinstance(parsed.actions, BoxActions):
        raise InvalidInputError("controller specification: value: 'max' is for discrete actions only")
    numbers = sum(
        a * b
        for layers in ((*parsed.hidden, parsed.actions.width), parsed.value_hidden or ())
        for a, b in itertools.pairwise((parsed.latent_dim, *layers))
    )
    most = min(most, limits.PARAMETERS)
    if numbers > most:
        raise InvalidInputError(f"controller specification: {numbers:,} parameters, expected at most {most:,}")
    return Controller(parsed)
