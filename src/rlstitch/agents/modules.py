"""Encoders and controllers made of plain torch modules.

A stack of layers that one of rlstitch's encoders or controllers has, too, becomes that one with a copy of the weights.
Any other module stays what it is: such an agent acts, is stitched and exported as a program, but it is not stored,
since a file holds weights and no code.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from rlstitch.agents.controller import Controller, build_controller
from rlstitch.agents.encoder import ARCHITECTURES, WITHOUT_LINEAR, Encoder, build_encoder
from rlstitch.agents.layers import ACTIVATIONS, OwnModule
from rlstitch.agents.specs import AnyActions, BoxActions
from rlstitch.envs.observation import Shape, is_image
from rlstitch.errors import IncompatibleError, InvalidInputError, RlstitchError
from rlstitch.storage.text import printable

Part = TypeVar("Part", bound=nn.Module)
_STACKS = ("convolutions", "linear", "layers", "trunk", "action_head")
"""Layers of encoders and controllers that compute latents and action parameters, in order."""
# What running a module of a user's own on inputs that it was not made for may raise.
_FOREIGN_ERRORS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


class OwnEncoder(Encoder):
    """An encoder that is a module of a user's own; it is not stored."""

    def __init__(self, module: nn.Module, observation_shape: Shape) -> None:
        height, width, channels = observation_shape if is_image(observation_shape) else (0, 0, 0)
        inputs = torch.zeros(2, channels, height, width) if height else torch.zeros(2, *observation_shape)
        super().__init__(observation_shape, _width("encoder", module, inputs))
        self.module = OwnModule(module)

    def spec(self) -> dict[str, Any]:
        """See `Encoder.spec`."""
        return {
            "kind": "module",
            "name": self.module.name,
            "observation_shape": list(self.observation_shape),
            "latent_dim": self.latent_dim,
        }

    def forward(self, inputs: Tensor) -> Tensor:
        """Encode float images `(N, C, H, W)` in [0, 1], or vectors `(N, D)`, as latents `(N, latent_dim)`."""
        return self.module(inputs)


def encoder_of(module: nn.Module, observation_shape: Shape) -> Encoder:
    """Return a module as an encoder.

    Args:
        module: float images `(N, C, H, W)` in [0, 1], or vectors `(N, D)`, to latents `(N, d)`.
        observation_shape: height, width, channels of images, or the length of vectors.

    Raises:
        IncompatibleError: where an encoder of rlstitch is for other observations.
        InvalidInputError: where it takes no such inputs, or gives no such latents.
    """
    if not isinstance(module, Encoder):
        same = _same(module, _encoders(module, observation_shape), build_encoder)
        return same or OwnEncoder(module, observation_shape)
    if module.observation_shape != observation_shape:
        raise IncompatibleError(
            f"encoder: expected one of observations {observation_shape}, found {module.observation_shape}"
        )
    return module


def controller_of_module(module: nn.Module, latent_dim: int, actions: AnyActions) -> Controller:
    """Return a module as a controller without a value, and, where actions are continuous, deterministic.

    Args:
        module: latents `(N, latent_dim)` to logits, or means of continuous actions, `(N, A)`.
        latent_dim: width of the latents.
        actions: of the world.

    Raises:
        IncompatibleError: where a controller of rlstitch has other actions.
        InvalidInputError: where it takes no such latents, or gives another number of action parameters.
    """
    if isinstance(module, Controller):
        if module.actions != actions:
            raise IncompatibleError(f"controller: expected one of the world's {actions}, found {module.actions}")
        return module
    width = _width("controller", module, torch.zeros(2, latent_dim))
    if width != actions.width:
        raise InvalidInputError(f"controller: expected {actions.width} action parameters, found {width}")
    plain = {"latent_dim": latent_dim, "actions": actions.model_dump(), "norm": "none", "value": "none"}
    if isinstance(actions, BoxActions):
        plain["std"] = "none"
    if same := _same(module, _controllers(module, plain), build_controller):
        return same
    controller = build_controller({**plain, "hidden": [width]})
    controller.trunk = nn.Sequential(OwnModule(module))
    with torch.no_grad():
        controller.action_head.weight.copy_(torch.eye(width))
        controller.action_head.bias.zero_()
    return controller


def require_storable(*parts: nn.Module) -> None:
    """Refuse an encoder or a controller that is a module of a user's own.

    Raises:
        InvalidInputError: where one is; it names the module.
    """
    for module in (inner for part in parts for inner in part.modules()):
        if isinstance(module, OwnModule):
            raise InvalidInputError(
                f"the module {module.name} cannot be stored, since a file holds no code; what can is a Sequential of "
                "the layers of rlstitch's encoders and controllers, or an extractor (docs/your-own-agents.md)"
            )


def _width(part: str, module: nn.Module, inputs: Tensor) -> int:
    """The width of what a module gives for two inputs."""
    try:
        with torch.no_grad():
            outputs = module.eval()(inputs)
        shape = tuple(outputs.shape)
    except _FOREIGN_ERRORS as error:
        reason = printable(f"{type(error).__name__}: {error}", limit=200)
        raise InvalidInputError(f"{part}: cannot be run on inputs {tuple(inputs.shape)}: {reason}") from None
    if len(shape) != 2 or shape[0] != 2 or not outputs.is_floating_point():
        raise InvalidInputError(f"{part}: expected floats (2, width) of 2 inputs, found {outputs.dtype} {shape}")
    return int(shape[1])


def _layers(*modules: nn.Module) -> list[nn.Module]:
    """The layers of a stack, without those that compute nothing."""
    nested = (_layers(*module) if isinstance(module, nn.Sequential) else [module] for module in modules)
    return [layer for part in nested for layer in part if not isinstance(layer, nn.Flatten | nn.Identity)]


def _same(module: nn.Module, specs: Iterable[dict[str, Any]], build: Callable[[dict[str, Any]], Part]) -> Part | None:
    """Return what has the layers of a stack, with its weights; None where none of these specifications has them."""
    layers = _layers(module)
    for spec in specs if isinstance(module, nn.Sequential) else ():
        with contextlib.suppress(RlstitchError):  # the specification is for other sizes
            part = build(spec)
            own = _layers(*(stack for stack in map(part._modules.get, _STACKS) if stack is not None))
            if [repr(layer) for layer in own] == [repr(layer) for layer in layers]:
                for ours, theirs in zip(own, layers, strict=True):
                    ours.load_state_dict(theirs.state_dict())
                return part
    return None


def _widths(module: nn.Module) -> list[int]:
    return [layer.out_features for layer in _layers(module) if isinstance(layer, nn.Linear)] or [1]


def _encoders(module: nn.Module, shape: Shape) -> Iterator[dict[str, Any]]:
    """Specifications of the encoders that a module may be."""
    *hidden, width = _widths(module)
    if is_image(shape):
        for name in ARCHITECTURES:
            latent_dim = None if name in WITHOUT_LINEAR else width
            yield {"kind": "cnn", "arch": name, "image_shape": shape, "latent_dim": latent_dim}
        return
    plain = {"kind": "mlp", "observation_shape": shape, "hidden": hidden, "latent_dim": width, "normalize": False}
    for name in ACTIVATIONS:
        yield {**plain, "activation": name}


def _controllers(module: nn.Module, plain: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Specifications of the controllers that a module may be."""
    for norm, name in itertools.product(("none", "layer", *ACTIVATIONS), ACTIVATIONS):
        yield {**plain, "hidden": _widths(module)[:-1], "norm": norm, "activation": name}
