"""From a Stable-Baselines3 model (PPO, A2C, DQN) to an encoder and a controller: the same function, in two parts.

The features extractor becomes the encoder, what follows it the controller. NatureCNN ends in a ReLU; that ReLU goes to
the controller, so that the latent space is the linear map's, with nothing cut off (R3L's encoders end so too, arXiv
2404.12917). Structure is read from the names and shapes of the weights, and checked to the last tensor; settings from
the file's plain JSON.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rlstitch.agents.controller import Controller, build_controller
from rlstitch.agents.encoder import Encoder, build_encoder
from rlstitch.agents.extractors import extractor_names
from rlstitch.agents.sb3.archive import ModelFile, read_model
from rlstitch.agents.sb3.structure import Layer, Parts, describe, split_policy
from rlstitch.agents.specs import BoxActions, DiscreteActions
from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.storage.text import printable

Activation = Literal["relu", "tanh"]

DQN_TEMPERATURE = 1e-3
"""Sampled, an agent from DQN draws from softmax(Q / temperature): nearly greedy at the usual scale of rewards."""

_PRINTED = {
    "<class 'torch.nn.modules.activation.Tanh'>": "tanh",
    "<class 'torch.nn.modules.activation.ReLU'>": "relu",
}
_NATURE = {"convolutions.0": "cnn.0", "convolutions.2": "cnn.2", "convolutions.4": "cnn.4", "linear": "linear.0"}
_LARGEST = 1e15  # a number of the file that goes on to the agent's card
_SETTINGS = (
    "learning_rate",
    "gamma",
    "gae_lambda",
    "n_steps",
    "n_epochs",
    "batch_size",
    "ent_coef",
    "vf_coef",
    "n_envs",
)


@dataclass(frozen=True)
class ImportedModel:
    """A Stable-Baselines3 model as encoder and controller, with its settings."""

    encoder: Encoder
    controller: Controller
    algorithm: str
    steps: int
    seed: int
    hyperparameters: dict[str, int | float]


def import_model(
    path: Path | str,
    *,
    image_shape: tuple[int, int, int],
    actions: DiscreteActions | BoxActions,
    activation: Activation | None = None,
    extractor: str | None = None,
    extractor_arguments: Mapping[str, Any] | None = None,
    temperature: float = DQN_TEMPERATURE,
) -> ImportedModel:
    """Read a model's zip and split it into encoder and controller, without running code from it.

    Args:
        path: what `model.save` wrote.
        image_shape: height, width, channels of the environment's observations.
        actions: the environment's actions.
        activation: of the hidden layers, where the file does not tell it in plain values; Stable-Baselines3's own
            default where it is not given either (tanh for PPO and A2C, ReLU for DQN).
        extractor: name of an extractor of the user's own (an entry point, see `extractors`) in the place of NatureCNN.
        extractor_arguments: its keyword arguments.
        temperature: of the softmax over DQN's action values, where actions are sampled.

    Raises:
        ArtefactError: where the file is missing, damaged, or asks for code to be run.
        IncompatibleError: where its observations or actions are not the environment's.
        InvalidInputError: for a structure that is not known; the message lists what was found.
        UnknownNameError: for an extractor that is not installed.
    """
    model = read_model(path)
    _check_settings(model)
    _check_spaces(model, image_shape, actions)
    parts = split_policy(model)
    _check_actions(model, parts, actions)
    controller = build_controller(
        {
            "latent_dim": parts.latent_dim,
            "actions": actions.model_dump(),
            "hidden": [len(layer.bias) for layer in parts.layers],
            "norm": "none" if extractor else "relu",
            "activation": _activation(model, parts, activation),
            "value_hidden": None if parts.value_layers is None else [len(layer.bias) for layer in parts.value_layers],
            "value": parts.value,
            "temperature": temperature if parts.algorithm == "DQN" else 1.0,
        }
    )
    _fill_controller(controller, parts, model)
    encoder = _encoder(model, parts, image_shape, extractor, extractor_arguments or {})
    return ImportedModel(
        encoder,
        controller,
        algorithm=parts.algorithm,
        steps=_whole(model.data.get("num_timesteps")),
        seed=_whole(model.data.get("seed")),
        hyperparameters=_hyperparameters(model),
    )


def _fill_controller(controller: Controller, parts: Parts, model: ModelFile) -> None:
    chains: list[tuple[nn.Module | None, list[Layer]]] = [
        (controller.trunk, parts.layers),
        (controller.action_head, [parts.head]),
        (controller.value_trunk, parts.value_layers or []),
        (controller.value_head, [parts.value_head] if parts.value_head else []),
    ]
    with torch.no_grad():
        for module, layers in chains:
            linear = [] if module is None else [part for part in module.modules() if isinstance(part, nn.Linear)]
            for target, source in zip(linear, layers, strict=True):
                if target.weight.shape != source.weight.shape:
                    raise InvalidInputError(
                        f"{model.path}: its layers do not fit each other: expected {tuple(target.weight.shape)}, "
                        f"found {tuple(source.weight.shape)}"
                    )
                target.weight.copy_(source.weight)
                target.bias.copy_(source.bias)
        if controller.log_std is not None and parts.log_std is not None:
            controller.log_std.copy_(parts.log_std)


def _encoder(
    model: ModelFile,
    parts: Parts,
    image_shape: tuple[int, int, int],
    extractor: str | None,
    arguments: Mapping[str, Any],
) -> Encoder:
    spec: dict[str, Any]
    if extractor is not None:
        spec = {"kind": "extractor", "name": extractor, "arguments": dict(arguments)}
        tensors = {f"module.{name}": value for name, value in parts.extractor.items()}
    else:
        spec = {"kind": "cnn", "arch": "nature"}
        places = {
            f"{theirs}.{kind}": f"{ours}.{kind}" for ours, theirs in _NATURE.items() for kind in ("weight", "bias")
        }
        if places.keys() != parts.extractor.keys():
            raise InvalidInputError(
                f"{model.path}: expected the extractor NatureCNN, found {_setting(model, 'features_extractor_class')} "
                f"with {describe(parts.extractor)}; name your own with --extractor "
                f"(installed: {', '.join(extractor_names()) or 'none'}; the file's arguments for it: "
                f"{_setting(model, 'features_extractor_kwargs')})"
            )
        tensors = {places[name]: value for name, value in parts.extractor.items()}
    encoder = build_encoder({**spec, "image_shape": image_shape, "latent_dim": parts.latent_dim})
    _fill(encoder, tensors, model)
    return encoder


def _fill(encoder: Encoder, tensors: dict[str, Tensor], model: ModelFile) -> None:
    expected = encoder.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        ours = tuple(expected[name].shape) if name in expected else "none"
        theirs = tuple(tensors[name].shape) if name in tensors else "none"
        if ours != theirs:
            height, width, channels = encoder.image_shape
            raise IncompatibleError(
                f"{model.path}: its extractor does not fit images of {height} x {width} x {channels}: "
                f"{name}: expected {ours}, found {theirs}"
            )
    encoder.load_state_dict(tensors)


def _activation(model: ModelFile, parts: Parts, given: Activation | None) -> str:
    if not parts.layers and not parts.value_layers:
        return "relu"  # there is none
    if given is not None:
        return given
    printed = _setting(model, "activation_fn")
    if printed == "none":
        return "relu" if parts.algorithm == "DQN" else "tanh"
    if printed not in _PRINTED:
        raise InvalidInputError(f"{model.path}: activation: expected Tanh or ReLU, found {printed}")
    return _PRINTED[printed]


def _setting(model: ModelFile, name: str) -> str:
    """One of the policy's keyword arguments as the file prints it, at most 100 characters; `none` where it has none."""
    settings = model.data.get("policy_kwargs")
    value = settings.get(name) if isinstance(settings, dict) else None
    return "none" if value is None else printable(value, limit=100)


def _check_settings(model: ModelFile) -> None:
    """Refuse what would make the network another function than its weights alone tell."""
    if model.data.get("use_sde") is True:
        raise InvalidInputError(f"{model.path}: use_sde: state-dependent exploration is not supported")
    if _setting(model, "normalize_images") == "False":
        raise InvalidInputError(
            f"{model.path}: normalize_images: expected images that the policy divides by 255, found False"
        )


def _check_spaces(model: ModelFile, image_shape: tuple[int, int, int], actions: DiscreteActions | BoxActions) -> None:
    """Compare the spaces that the file prints with the environment's; what it does not print, the weights will tell."""
    height, width, channels = image_shape
    shape = _shape(model.data.get("observation_space"))
    if shape is not None and shape != [channels, height, width]:
        raise IncompatibleError(
            f"{model.path}: observations: the environment gives images of {height} x {width} x {channels}, "
            f"the model was trained on {shape} (channels first)"
        )
    printed = model.data.get("action_space")
    if not isinstance(printed, dict):
        return
    kind = str(printed.get(":type:", "")).removesuffix("'>").rpartition(".")[2]
    own_kind = "Box" if isinstance(actions, BoxActions) else "Discrete"
    if kind in ("Box", "Discrete", "MultiDiscrete", "MultiBinary") and kind != own_kind:
        raise IncompatibleError(
            f"{model.path}: actions: the environment's are a {own_kind}, the model was trained on a {kind}"
        )
    for name in ("low", "high") if isinstance(actions, BoxActions) else ():
        bounds, own = _numbers(str(printed.get(name, ""))), list(getattr(actions, name))
        if len(bounds) == len(own) and any(
            abs(a - b) > 1e-4 * max(1.0, abs(b)) for a, b in zip(bounds, own, strict=True)
        ):
            raise IncompatibleError(
                f"{model.path}: actions.{name}: the environment's is {own}, the model was trained with {bounds}"
            )


def _check_actions(model: ModelFile, parts: Parts, actions: DiscreteActions | BoxActions) -> None:
    gives, log_std = len(parts.head.bias), parts.log_std
    what = "actions" if log_std is None else "continuous numbers an action"
    same_kind = log_std is None if isinstance(actions, DiscreteActions) else log_std is not None
    if gives != actions.width or not same_kind or (log_std is not None and log_std.shape != (gives,)):
        takes = f"{actions.width} actions" if isinstance(actions, DiscreteActions) else f"a Box of {actions.width}"
        raise IncompatibleError(f"{model.path}: actions: the environment takes {takes}, the model gives {gives} {what}")


def _shape(printed: Any) -> list[int] | None:
    shape = printed.get("_shape") if isinstance(printed, dict) else None
    return shape if isinstance(shape, list) and all(type(size) is int for size in shape) else None


def _numbers(printed: str) -> list[float]:
    """Read numbers as NumPy prints them, `[-1.  0.5]`; nothing where it shortened the list."""
    if "..." in printed:
        return []
    return [float(text) for text in re.findall(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?", printed[:100_000])]


def _hyperparameters(model: ModelFile) -> dict[str, int | float]:
    values: dict[str, Any] = {key: model.data.get(key) for key in _SETTINGS}
    return {key: value for key, value in values.items() if type(value) in (int, float) and abs(value) < _LARGEST}


def _whole(value: Any) -> int:
    return value if type(value) is int and 0 <= value < _LARGEST else 0
