"""From a Stable-Baselines3 model to an encoder and a controller: the same function, in two parts.

Of images the features extractor becomes the encoder, what follows it the controller; of vectors the first hidden layers
do (`vectors`). NatureCNN ends in a ReLU, as a hidden layer in its activation; that goes to the controller, so that the
latent space is the linear map's, with nothing cut off (R3L's encoders end so too, arXiv 2404.12917). Structure is read
from the names and shapes of the weights, and checked to the last tensor; settings from the file's plain JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from rlstitch.agents.controller import Controller, build_controller
from rlstitch.agents.encoder import Encoder, ExtractorEncoder, build_encoder
from rlstitch.agents.extractors import extractor_names
from rlstitch.agents.sb3.archive import ModelFile, read_model
from rlstitch.agents.sb3.settings import FLATTEN, NATURE_CNN, Activation, Settings, read_settings
from rlstitch.agents.sb3.spaces import check_actions, check_observations
from rlstitch.agents.sb3.statistics import Statistics
from rlstitch.agents.sb3.structure import Layer, Parts, describe, split_policy
from rlstitch.agents.sb3.vectors import split_layers, vector_encoder
from rlstitch.agents.specs import AnyActions, BoxActions
from rlstitch.envs.observation import Shape, is_image
from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.storage.text import printable

DQN_TEMPERATURE = 1e-3
"""Sampled, an agent from DQN draws from softmax(Q / temperature): nearly greedy at the usual scale of rewards."""

_NATURE = {"convolutions.0": "cnn.0", "convolutions.2": "cnn.2", "convolutions.4": "cnn.4", "linear": "linear.0"}
Norm: TypeAlias = Literal["none", "relu", "tanh"]
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
    """A model of another library as encoder and controller, with its settings."""

    encoder: Encoder
    controller: Controller
    algorithm: str
    steps: int
    seed: int
    hyperparameters: dict[str, int | float]
    library: str = "Stable-Baselines3"


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """What a user states of a model, beside what its file states."""

    activation: Activation | None = None
    """Of the hidden layers, where the file names no class of torch's."""
    extractor: str | None = None
    """Name of an extractor of the user's own (an entry point, see `extractors`) in the place of NatureCNN."""
    extractor_arguments: Mapping[str, Any] | None = None
    """Its keyword arguments, beside those that the file prints in plain values."""
    split: int | None = None
    """Number of hidden layers that the encoder takes, of vectors; None: all."""
    temperature: float = DQN_TEMPERATURE
    """Of the softmax over DQN's action values, where actions are sampled."""


def import_model(
    path: Path | str | ModelFile,
    *,
    observation_shape: Shape,
    actions: AnyActions,
    statistics: Statistics | None = None,
    options: ModelOptions | None = None,
) -> ImportedModel:
    """Read a model's zip and split it into encoder and controller, without running code from it.

    Args:
        path: what `model.save` wrote, or what `read_model` read of it.
        observation_shape: of the environment: height, width, channels of images, or the length of vectors.
        actions: the environment's actions.
        statistics: that the vectors were normalized by; None: they were not.
        options: what the file does not state.

    Raises:
        ArtefactError: where the file is missing, damaged, or asks for code to be run.
        IncompatibleError: where its observations or actions are not the environment's.
        InvalidInputError: for a class, a setting or a structure that is not known; the message names what was found.
        UnknownNameError: for an extractor that is not installed.
    """
    model = path if isinstance(path, ModelFile) else read_model(path)
    settings = read_settings(model)
    check_observations(model, observation_shape)
    check_actions(model, actions)
    images = is_image(observation_shape)
    options = options or ModelOptions()
    _check_options(settings, images, options, statistics)
    parts = split_policy(model, settings.algorithm, flat=not images)
    stated = settings.activation_of(options.activation) if parts.layers or parts.value_layers else "relu"
    if images:
        encoder = _encoder(settings, parts, observation_shape, options.extractor, options.extractor_arguments or {})
        norm: Norm = "none" if options.extractor else "relu"
    else:
        layers, parts = split_layers(parts, options.split, model.path)
        encoder = vector_encoder(layers, observation_shape[0], stated, statistics, model.path)
        norm = stated
    controller = controller_of(
        parts,
        actions,
        model.path,
        norm=norm,
        activation=stated,
        temperature=options.temperature if settings.algorithm == "DQN" else 1.0,
    )
    return ImportedModel(
        encoder,
        controller,
        algorithm=settings.algorithm,
        steps=_whole(model.data.get("num_timesteps")),
        seed=_whole(model.data.get("seed")),
        hyperparameters=_hyperparameters(model),
    )


def _check_options(settings: Settings, images: bool, options: ModelOptions, statistics: Statistics | None) -> None:
    kind, extractor, given = "images" if images else "vectors", options.extractor, options.extractor_arguments
    unused = {"split": options.split, "normalization": statistics} if images else {"extractor": extractor}
    if other := [name for name, value in unused.items() if value is not None]:
        raise InvalidInputError(f"{other[0]}: expected none where the environment's observations are {kind}")
    if given and extractor is None:
        raise InvalidInputError(f"extractor arguments: expected an extractor beside them, found {dict(given)}")
    stock = NATURE_CNN if images else FLATTEN
    if extractor is None and settings.extractor != stock:
        own = (
            f"; name your own with --extractor (installed: {', '.join(extractor_names()) or 'none'}; the file's "
            f"arguments for it: {printable(settings.extractor_arguments, limit=100)})"
        )
        name = stock.removesuffix("'>").rpartition(".")[2]
        raise InvalidInputError(
            f"{settings.path}: expected the extractor {name}, found {settings.extractor}{own if images else ''}"
        )


def controller_of(
    parts: Parts,
    actions: AnyActions,
    path: Path,
    *,
    norm: Norm,
    activation: Activation = "relu",
    temperature: float = 1.0,
) -> Controller:
    """Make a controller of the layers that follow an extractor.

    Args:
        parts: of a policy.
        actions: the environment's.
        path: of the model, for errors.
        norm, activation, temperature: as in `ControllerSpec`.

    Raises:
        IncompatibleError: where the actions are not the environment's.
        InvalidInputError: where the layers do not fit each other.
    """
    _check_head(path, parts, actions)
    controller = build_controller(
        {
            "latent_dim": parts.latent_dim,
            "actions": actions.model_dump(),
            "hidden": [len(layer.bias) for layer in parts.layers],
            "norm": norm,
            "activation": activation,
            "value_hidden": None if parts.value_layers is None else [len(layer.bias) for layer in parts.value_layers],
            "value": parts.value,
            "temperature": temperature,
            "squash": parts.squash,
            "std": parts.std,
        }
    )
    _fill_controller(controller, parts, path)
    return controller


def _fill_controller(controller: Controller, parts: Parts, path: Path) -> None:
    chains: list[tuple[nn.Module | None, list[Layer]]] = [
        (controller.trunk, parts.layers),
        (controller.action_head, [parts.head]),
        (controller.value_trunk, parts.value_layers or []),
        (controller.value_head, [parts.value_head] if parts.value_head else []),
        (controller.log_std_head, [parts.log_std_head] if parts.log_std_head else []),
    ]
    with torch.no_grad():
        for module, layers in chains:
            linear = [] if module is None else [part for part in module.modules() if isinstance(part, nn.Linear)]
            for target, source in zip(linear, layers, strict=True):
                if target.weight.shape != source.weight.shape:
                    raise InvalidInputError(
                        f"{path}: its layers do not fit each other: expected {tuple(target.weight.shape)}, "
                        f"found {tuple(source.weight.shape)}"
                    )
                target.weight.copy_(source.weight)
                target.bias.copy_(source.bias)
        if controller.log_std is not None and parts.log_std is not None:
            controller.log_std.copy_(parts.log_std)


def _encoder(
    settings: Settings,
    parts: Parts,
    image_shape: Shape,
    extractor: str | None,
    given: Mapping[str, Any],
) -> Encoder:
    if extractor is None:
        return nature_encoder(parts, image_shape, settings.path)
    spec = {"kind": "extractor", "name": extractor, "arguments": _arguments(settings, given)}
    encoder = build_encoder({**spec, "image_shape": image_shape, "latent_dim": parts.latent_dim})
    if isinstance(encoder, ExtractorEncoder) and (name := type(encoder.module).__name__) != settings.extractor_name:
        raise InvalidInputError(
            f"{settings.path}: expected an extractor of the class {settings.extractor}, found {name} "
            f"(--extractor {extractor})"
        )
    _fill(encoder, {f"module.{name}": value for name, value in parts.extractor.items()}, settings.path)
    return encoder


def nature_encoder(parts: Parts, image_shape: Shape, path: Path) -> Encoder:
    """Make an encoder of the weights of a NatureCNN, named as Stable-Baselines3 names them.

    Raises:
        IncompatibleError: where they do not fit images `(H, W, C)` of this shape.
        InvalidInputError: where they are no NatureCNN's.
    """
    places = {f"{theirs}.{kind}": f"{ours}.{kind}" for ours, theirs in _NATURE.items() for kind in ("weight", "bias")}
    if places.keys() != parts.extractor.keys():
        raise InvalidInputError(f"{path}: expected the weights of NatureCNN, found {describe(parts.extractor)}")
    encoder = build_encoder(
        {"kind": "cnn", "arch": "nature", "image_shape": image_shape, "latent_dim": parts.latent_dim}
    )
    _fill(encoder, {places[name]: value for name, value in parts.extractor.items()}, path)
    return encoder


def _arguments(settings: Settings, given: Mapping[str, Any]) -> dict[str, Any]:
    """The extractor's arguments: those that the file prints as plain values, and those that are given."""
    stated = settings.extractor_arguments
    printed = stated if isinstance(stated, dict) else {}
    plain = {name: value for name, value in printed.items() if isinstance(value, str | int | float | None)}
    if printed.keys() - plain.keys() - given.keys() or (stated != printed and not given):
        raise InvalidInputError(
            f"{settings.path}: the extractor's arguments cannot be read from the file, give them with "
            f"--extractor-args: {printable(stated, limit=200)}"
        )
    return {**plain, **given}


def _fill(encoder: Encoder, tensors: dict[str, Tensor], path: Path) -> None:
    expected = encoder.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        ours = tuple(expected[name].shape) if name in expected else "none"
        theirs = tuple(tensors[name].shape) if name in tensors else "none"
        if ours != theirs:
            raise IncompatibleError(
                f"{path}: its extractor does not fit images of {' x '.join(map(str, encoder.observation_shape))}: "
                f"{name}: expected {ours}, found {theirs}"
            )
    encoder.load_state_dict(tensors)


def _check_head(path: Path, parts: Parts, actions: AnyActions) -> None:
    gives, log_std = len(parts.head.bias), parts.log_std
    what = "continuous numbers an action" if parts.continuous else "actions"
    same_kind = parts.continuous == isinstance(actions, BoxActions)
    if gives != actions.width or not same_kind or (log_std is not None and log_std.shape != (gives,)):
        takes = f"a Box of {actions.width}" if isinstance(actions, BoxActions) else f"{actions.width} actions"
        raise IncompatibleError(f"{path}: actions: the environment takes {takes}, the model gives {gives} {what}")


def _hyperparameters(model: ModelFile) -> dict[str, int | float]:
    values: dict[str, Any] = {key: model.data.get(key) for key in _SETTINGS}
    return {key: value for key, value in values.items() if type(value) in (int, float) and abs(value) < _LARGEST}


def _whole(value: Any) -> int:
    return value if type(value) is int and 0 <= value < _LARGEST else 0
