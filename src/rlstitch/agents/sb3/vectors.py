"""Policies of vectors, taken apart: the first hidden layers are the encoder, what follows them the controller."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from rlstitch.agents.encoder import Encoder, build_encoder
from rlstitch.agents.sb3.settings import Activation
from rlstitch.agents.sb3.statistics import Statistics
from rlstitch.agents.sb3.structure import Layer, Parts
from rlstitch.errors import IncompatibleError, InvalidInputError


def split_layers(parts: Parts, split: int | None, path: Path) -> tuple[list[Layer], Parts]:
    """Return the hidden layers that are the encoder's, and what the controller is made of.

    Args:
        parts: of a policy without an extractor.
        split: number of the encoder's layers; None: all hidden layers.
        path: of the model, for errors.

    Raises:
        InvalidInputError: where there are not so many hidden layers, or none.
    """
    hidden = len(parts.layers)
    if not hidden:
        raise InvalidInputError(f"{path}: expected hidden layers before the action head, which an encoder is made of")
    count = hidden if split is None else split
    if not 1 <= count <= hidden:
        raise InvalidInputError(f"{path}: split: expected 1 to {hidden}, its hidden layers, found {split}")
    return parts.layers[:count], parts.after(count)


def vector_encoder(
    layers: list[Layer], width: int, activation: Activation, statistics: Statistics | None, path: Path
) -> Encoder:
    """Make an encoder of linear layers and the statistics that their observations are normalized by.

    Args:
        layers: one or more.
        width: length of the environment's vectors.
        activation: between the layers.
        statistics: None: the layers take the observations as they are.
        path: of the model, for errors.

    Raises:
        IncompatibleError: where layers or statistics are not of vectors of this width.
    """
    for part, size in (("first layer", layers[0].weight.shape[1]), ("normalization", _width(statistics, width))):
        if size != width:
            raise IncompatibleError(
                f"{path}: observations: the environment gives vectors of {width} numbers, the {part} takes {size}"
            )
    widths = [len(layer.bias) for layer in layers]
    spec = {"kind": "mlp", "observation_shape": [width], "hidden": widths[:-1], "latent_dim": widths[-1]}
    normalized = {} if statistics is None else {"clip": statistics.clip, "epsilon": statistics.epsilon}
    encoder = build_encoder({**spec, **normalized, "activation": activation, "normalize": statistics is not None})
    tensors: dict[str, Tensor] = {}
    for number, layer in enumerate(layers):
        tensors |= {f"layers.{2 * number}.weight": layer.weight, f"layers.{2 * number}.bias": layer.bias}
    if statistics is not None:
        tensors |= {f"normalization.{name}": torch.from_numpy(getattr(statistics, name)) for name in ("mean", "var")}
        tensors["normalization.count"] = torch.tensor(statistics.count, dtype=torch.float64)
    encoder.load_state_dict(tensors)
    return encoder


def _width(statistics: Statistics | None, width: int) -> int:
    return width if statistics is None else len(statistics.mean)
