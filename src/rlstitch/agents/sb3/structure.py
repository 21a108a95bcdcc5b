"""The tensors of a policy, sorted by name into extractor, hidden layers and heads.

Every tensor must be accounted for; a policy of another structure is refused with a list of its tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from rlstitch.agents.sb3.archive import ModelFile
from rlstitch.agents.sb3.settings import Algorithm
from rlstitch.errors import InvalidInputError
from rlstitch.storage.text import printable

_SHOWN = 8


@dataclass(frozen=True)
class Layer:
    """A linear layer."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Parts:
    """The tensors of a policy, by part."""

    extractor: dict[str, Tensor]
    """By their names within the extractor; empty where the hidden layers take the observations themselves."""
    layers: list[Layer]
    """Hidden layers before the action head."""
    head: Layer
    value: Literal["head", "max", "none"]
    """As in `ControllerSpec`."""
    value_layers: list[Layer] | None = None
    value_head: Layer | None = None
    log_std: Tensor | None = None
    """Where the standard deviation is a parameter."""
    log_std_head: Layer | None = None
    """Where it depends on the state."""
    squash: bool = False
    """As in `ControllerSpec`."""

    @property
    def std(self) -> Literal["parameter", "state", "none"]:
        """As in `ControllerSpec`."""
        if self.log_std_head is not None:
            return "state"
        return "none" if self.squash and self.log_std is None else "parameter"

    @property
    def continuous(self) -> bool:
        """Whether it gives continuous actions."""
        return self.squash or self.log_std is not None

    @property
    def latent_dim(self) -> int:
        """Width of what the extractor gives."""
        first = self.layers[0] if self.layers else self.head
        return int(first.weight.shape[1])

    def after(self, count: int) -> Parts:
        """Return what follows the first `count` hidden layers; a value with layers of its own is given up."""
        value: Literal["max", "none"] = "max" if self.value == "max" else "none"
        return replace(self, layers=self.layers[count:], value=value, value_layers=None, value_head=None)


def split_policy(model: ModelFile, algorithm: Algorithm, *, flat: bool = False) -> Parts:
    """Sort the tensors of an algorithm's policy into its parts; those of critics that do not act are left out.

    Args:
        model: the file.
        algorithm: that trained it.
        flat: its observations are vectors, and no tensor is an extractor's.

    Raises:
        InvalidInputError: where it is no such policy of the algorithm; the message lists what was found.
    """
    parts = _SPLITS[algorithm](model)
    if flat == bool(parts.extractor):
        raise _unknown(model, parts.extractor)
    return parts


def describe(tensors: Mapping[str, Tensor | None]) -> str:
    """Names and shapes of the first few tensors, for an error."""
    known = {name: value for name, value in tensors.items() if value is not None}
    shown = [f"{printable(name, limit=100)} {tuple(value.shape)}" for name, value in known.items()][:_SHOWN]
    more = len(tensors) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _unknown(model: ModelFile, tensors: Mapping[str, Tensor | None]) -> InvalidInputError:
    return InvalidInputError(
        f"{model.path}: expected a CnnPolicy (one extractor of images, linear layers, heads) or an MlpPolicy (linear "
        f"layers, heads); found besides: {describe(tensors) or 'no extractor'}"
    )


def _actor_critic(model: ModelFile) -> Parts:
    left = dict(model.tensors)
    shared, actor, critic = (_take(left, f"{part}features_extractor.") for part in ("", "pi_", "vf_"))
    extractor = actor or shared
    head, value_head = take_layer(left, "action_net", model), take_layer(left, "value_net", model)
    layers, value_layers = (take_layers(left, f"mlp_extractor.{part}_net", model) for part in ("policy", "value"))
    log_std = left.pop("log_std", None)
    if left or (shared and not _equal(shared, extractor)):
        raise _unknown(model, left or extractor)
    # With a critic's extractor of its own, the value is no function of the latents: acting does not need it.
    one_extractor = not critic or _equal(critic, extractor)
    separate = bool(layers or value_layers)
    return Parts(
        extractor=extractor,
        layers=layers,
        head=head,
        value="head" if one_extractor else "none",
        value_layers=value_layers if one_extractor and separate else None,
        value_head=value_head if one_extractor else None,
        log_std=log_std,
    )


def _q_network(model: ModelFile) -> Parts:
    left = dict(model.tensors)
    _take(left, "q_net_target.")
    extractor = _take(left, "q_net.features_extractor.")
    layers = take_layers(left, "q_net.q_net", model)
    if left or not layers:
        raise _unknown(model, left)
    return Parts(extractor, layers[:-1], layers[-1], value="max")


def _actor(model: ModelFile) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What is left beside the critics, and the actor's extractor."""
    left = dict(model.tensors)
    for prefix in ("critic.", "critic_target.", "actor_target."):
        _take(left, prefix)
    return left, _take(left, "actor.features_extractor.")


def _normal_actor(model: ModelFile) -> Parts:
    left, extractor = _actor(model)
    layers, head = take_layers(left, "actor.latent_pi", model), take_layer(left, "actor.mu", model)
    log_std_head = take_layer(left, "actor.log_std", model)
    if left or log_std_head.weight.shape != head.weight.shape:
        raise _unknown(model, left or {"actor.log_std.weight": log_std_head.weight})
    return Parts(extractor, layers, head, value="none", log_std_head=log_std_head, squash=True)


def _deterministic_actor(model: ModelFile) -> Parts:
    left, extractor = _actor(model)
    layers = take_layers(left, "actor.mu", model)
    if left or not layers:
        raise _unknown(model, left)
    return Parts(extractor, layers[:-1], layers[-1], value="none", squash=True)


_SPLITS: dict[Algorithm, Callable[[ModelFile], Parts]] = {
    "PPO": _actor_critic,
    "A2C": _actor_critic,
    "TRPO": _actor_critic,
    "DQN": _q_network,
    "SAC": _normal_actor,
    "TQC": _normal_actor,
    "TD3": _deterministic_actor,
    "DDPG": _deterministic_actor,
}


def _equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _take(left: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): left.pop(name) for name in list(left) if name.startswith(prefix)}


def take_layer(left: dict[str, Tensor], name: str, model: ModelFile) -> Layer:
    """Take a linear layer out of the tensors that are left.

    Raises:
        InvalidInputError: where it is missing or no linear layer.
    """
    weight, bias = left.pop(f"{name}.weight", None), left.pop(f"{name}.bias", None)
    if weight is None or bias is None or weight.ndim != 2 or bias.shape != weight.shape[:1]:
        raise _unknown(
            model, left if weight is None and bias is None else {f"{name}.weight": weight, f"{name}.bias": bias}
        )
    return Layer(weight, bias)


def take_layers(left: dict[str, Tensor], name: str, model: ModelFile) -> list[Layer]:
    """Take linear layers at 0, 2, 4, ... out of the tensors that are left; activations between them have no weights.

    Raises:
        InvalidInputError: where one is no linear layer, or they do not fit each other.
    """
    layers: list[Layer] = []
    while f"{name}.{2 * len(layers)}.weight" in left:
        layers.append(take_layer(left, f"{name}.{2 * len(layers)}", model))
        if len(layers) > 1 and layers[-1].weight.shape[1] != len(layers[-2].bias):
            raise _unknown(model, {f"{name}.{2 * len(layers) - 2}.weight": layers[-1].weight})
    return layers
