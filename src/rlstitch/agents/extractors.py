"""Encoders that the user's own installed code builds: an entry point in the group `rlstitch.extractors` names it.

    [project.entry-points."rlstitch.extractors"]
    my-cnn = "my_package.networks:MyExtractor"

The class is one that Stable-Baselines3 takes as `features_extractor_class`: made from an observation space (a uint8 Box
`(C, H, W)`) and keyword arguments, it turns float images `(N, C, H, W)` in [0, 1] into features `(N, features_dim)`.
A stored agent keeps the name and the arguments, never code: what runs is what the user installed under that name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from rlstitch.agents.specs import ExtractorSpec
from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.storage import limits, printable

GROUP = "rlstitch.extractors"

# What importing, making or running another package's module with wrong arguments may raise.
_FOREIGN_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, OSError, RuntimeError, TypeError,
    ValueError,
)  # fmt: skip


def extractor_names() -> list[str]:
    """Return the names of the extractors that are installed, sorted; nothing is imported."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def _entry_point(name: str) -> EntryPoint:
    points = [point for point in entry_points(group=GROUP) if point.name == name]
    if not points:
        raise UnknownNameError(f"extractor (entry points of the group {GROUP!r})", name, extractor_names())
    if len({point.value for point in points}) > 1:
        raise InvalidInputError(f"extractor {name!r}: several packages claim it: {[point.value for point in points]}")
    return points[0]


def build_extractor(spec: ExtractorSpec) -> nn.Module:
    """Make a user's extractor and run it once.

    Raises:
        UnknownNameError: where no installed package has an extractor of this name.
        InvalidInputError: where it cannot be made so, gives latents of another shape or holds too many numbers.
    """
    point = _entry_point(spec.name)
    height, width, channels = spec.image_shape
    where = f"extractor {spec.name!r} ({point.value})"

    def build() -> nn.Module:
        make: Callable[..., Any] = point.load()
        module = make(spaces.Box(0, 255, (channels, height, width), np.uint8), **spec.arguments)
        if not isinstance(module, nn.Module):
            raise TypeError(f"expected a torch module, found {type(module).__name__}")
        return module

    # Without memory at first; what fails so may still be made with it.
    draft = None
    with contextlib.suppress(*_FOREIGN_ERRORS), torch.device("meta"):
        draft = build()
    if draft is not None:
        _check_size(draft, spec.name)
    try:
        module = build()
        with torch.no_grad():
            shape = tuple(module.eval()(torch.zeros(2, channels, height, width)).shape)
    except _FOREIGN_ERRORS as error:
        reason = printable(f"{type(error).__name__}: {error}", limit=300)
        raise InvalidInputError(f"{where}: cannot be made with {spec.arguments}: {reason}") from None
    _check_size(module, spec.name)
    if shape != (2, spec.latent_dim):
        raise InvalidInputError(f"{where}: expected latents of width {spec.latent_dim}, found shape {shape[1:]}")
    return module


def _check_size(module: nn.Module, name: str) -> None:
    numbers = sum(value.numel() for value in module.state_dict().values())
    if numbers > limits.PARAMETERS:
        raise InvalidInputError(f"extractor {name!r}: {numbers:,} parameters, at most {limits.PARAMETERS:,}")
