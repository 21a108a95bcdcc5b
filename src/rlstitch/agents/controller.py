"""Controllers: latent -> action (and value)."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import torch
from torch import Tensor, nn

from rlstitch.agents.layers import ACTIVATIONS
from rlstitch.agents.specs import AnyActions, BoxActions, ControllerSpec, parse_controller_spec
from rlstitch.errors import InvalidInputError
from rlstitch.storage import limits

# Keys that came after the first release: at their default they are left out of a specification.
_LATER = ("entry", "value_hidden", "value", "temperature", "squash", "std")

LOG_STD_BOUNDS = (-20.0, 2.0)
"""Within these a standard deviation that depends on the state is kept, in logarithms, as in SAC."""


def build_trunk(spec: ControllerSpec, widths: tuple[int, ...] | None = None) -> nn.Sequential:
    """Entry, norm, activation, then hidden layers: latents `(N, latent_dim)` -> features `(N, last hidden width)`.

    The order is R3L's (arXiv 2404.12917): LayerNorm - ReLU - Linear - ReLU. `widths` stand for `spec.hidden`.
    """
    activation = ACTIVATIONS[spec.activation]
    layers: list[nn.Module] = []
    width = spec.width
    if spec.entry is not None:
        layers += [nn.Linear(spec.latent_dim, width)]
    if spec.norm == "layer":
        layers += [nn.LayerNorm(width), activation()]
    elif spec.norm != "none":
        layers += [ACTIVATIONS[spec.norm]()]
    for hidden in spec.hidden if widths is None else widths:
        layers += [nn.Linear(width, hidden), activation()]
        width = hidden
    return nn.Sequential(*layers)


class Controller(nn.Module):
    """Trunk, action head and value head: latents `(N, latent_dim)` -> action parameters and values `(N,)`.

    Action parameters are logits `(N, A)` where actions are discrete, log odds of switches. Where they are continuous
    they are the means `(N, A)` of normal distributions, before any squashing; where the standard deviation depends on
    the state, its logarithms follow: `(N, 2 A)`. `bound` makes actions of such numbers.
    The value may have a trunk of its own, or no head: see `ControllerSpec`.
    """

    latent_dim: int
    """Width of the latents that the controller takes."""
    actions: AnyActions
    """The actions that it gives."""
    log_std: nn.Parameter | None
    """Logarithms of the standard deviations `(A,)` of continuous actions, where they are a parameter."""

    def __init__(self, spec: ControllerSpec) -> None:
        super().__init__()
        self._spec = spec
        self.latent_dim, self.actions = spec.latent_dim, spec.actions
        self.trunk = build_trunk(spec)
        width = spec.hidden[-1] if spec.hidden else spec.width
        self.action_head = nn.Linear(width, spec.actions.width)
        self.value_trunk: nn.Sequential | None = None
        if spec.value == "head" and spec.value_hidden is not None:
            self.value_trunk = build_trunk(spec, spec.value_hidden)
            width = spec.value_hidden[-1] if spec.value_hidden else spec.width
        self.value_head: nn.Module = nn.Linear(width, 1) if spec.value == "head" else nn.Identity()
        self.log_std_head: nn.Linear | None = None
        if spec.std == "state":
            self.log_std_head = nn.Linear(self.action_head.in_features, spec.actions.width)
        if isinstance(spec.actions, BoxActions) and spec.std == "parameter":
            self.log_std = nn.Parameter(torch.zeros(spec.actions.width))
        else:
            self.register_parameter("log_std", None)

    def spec(self) -> dict[str, Any]:
        """Return what `build_controller` needs to make this module again (without weights)."""
        default = {key: ControllerSpec.model_fields[key].default for key in _LATER}
        spec = self._spec.model_dump(mode="json")
        return {key: value for key, value in spec.items() if key not in default or value != default[key]}

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return action parameters and values `(N,)` of latents `(N, latent_dim)`."""
        features = self.trunk(latents)
        scores = self.action_head(features)
        if self._spec.value == "max":
            values = scores.amax(dim=1)
        elif self._spec.value == "none":
            values = torch.zeros_like(scores[:, 0])
        else:
            base = features if self.value_trunk is None else self.value_trunk(latents)
            values = self.value_head(base).squeeze(-1)
        return self._joined(scores, features), values

    def action_parameters(self, latents: Tensor) -> Tensor:
        """Return the action parameters alone."""
        features = self.trunk(latents)
        return self._joined(self.action_head(features), features)

    @torch.no_grad()
    def after(self, matrix: Tensor, bias: Tensor) -> Controller:
        """Return a copy that takes latents `(N, k)` and acts as this one on `latents @ matrix + bias`.

        Args:
            matrix: `(k, latent_dim)`.
            bias: `(latent_dim,)`.
        """
        made = copy.deepcopy(self)
        for name in ("trunk", "value_trunk"):
            if (trunk := getattr(made, name)) is None:
                continue
            weight, offset, layers = matrix.T, bias, list(trunk)
            if self._spec.entry is not None:  # two linear maps are one
                weight, offset = layers[0].weight @ weight, layers[0](offset)
                layers = layers[1:]
            entry = nn.Linear(len(matrix), len(offset)).to(offset)
            entry.weight.copy_(weight)
            entry.bias.copy_(offset)
            setattr(made, name, nn.Sequential(entry, *layers))
        made._spec = self._spec.model_copy(update={"latent_dim": len(matrix), "entry": self._spec.width})
        made.latent_dim = len(matrix)
        return made.requires_grad_(True).eval()

    def _joined(self, scores: Tensor, features: Tensor) -> Tensor:
        if self.log_std_head is not None:
            return torch.cat([scores, self.log_std_head(features).clamp(*LOG_STD_BOUNDS)], dim=1)
        return scores if self._spec.temperature == 1.0 else scores / self._spec.temperature

    def normal(self, parameters: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return means `(N, A)` and logarithms of standard deviations, `(N, A)` or `(A,)`, of continuous actions.

        The latter are None where actions are deterministic.
        """
        if self.log_std_head is not None:
            means, log_std = parameters.chunk(2, dim=1)
            return means, log_std
        return parameters, self.log_std

    def bound(self, numbers: Tensor) -> Tensor:
        """Return the continuous actions within their bounds, `(N, A)`, for numbers of their normal distributions.

        Raises:
            InvalidInputError: where actions are discrete.
        """
        if not isinstance(self.actions, BoxActions):
            raise InvalidInputError("controller: expected continuous actions, found discrete ones")
        low, high = (numbers.new_tensor(limit) for limit in (self.actions.low, self.actions.high))
        if self._spec.squash:
            return (low + 0.5 * (numbers.tanh() + 1.0) * (high - low)).clamp(low, high)
        return numbers.clamp(low, high)


def build_controller(spec: dict[str, Any], *, most: int = limits.PARAMETERS) -> Controller:
    """Make the controller that a specification describes, with fresh weights.

    Args:
        spec: see `specs`.
        most: numbers that it may hold; of a file the number of its bytes.

    Raises:
        InvalidInputError: where the specification is not one, or describes more numbers.
    """
    parsed = parse_controller_spec(spec)
    _check_kind(parsed)
    width = parsed.actions.width * (2 if parsed.std == "state" else 1)
    numbers = sum(
        a * b
        for layers in ((*parsed.hidden, width), parsed.value_hidden or ())
        for a, b in itertools.pairwise((parsed.latent_dim, *([parsed.width] if parsed.entry else []), *layers))
    )
    most = min(most, limits.PARAMETERS)
    if numbers > most:
        raise InvalidInputError(f"controller specification: {numbers:,} parameters, expected at most {most:,}")
    return Controller(parsed)


def _check_kind(spec: ControllerSpec) -> None:
    """Refuse what the actions of a specification cannot have."""
    where = "controller specification"
    if not isinstance(spec.actions, BoxActions):
        if spec.squash or spec.std != "parameter":
            raise InvalidInputError(f"{where}: squash and std are for continuous actions only")
        return
    low, high = spec.actions.low, spec.actions.high
    if len(low) != len(high):
        raise InvalidInputError(f"{where}: actions.low has {len(low)} numbers, actions.high {len(high)}")
    if spec.value == "max":
        raise InvalidInputError(f"{where}: value: 'max' is for discrete actions only")
    if spec.std == "state" and spec.temperature != 1.0:
        raise InvalidInputError(f"{where}: temperature: expected 1 beside std 'state', found {spec.temperature}")
    if spec.squash and not all(map(math.isfinite, (*low, *high))):
        raise InvalidInputError(f"{where}: squash needs bounded actions")
