"""Encoders that the user's own installed code builds: an entry point in the group `rlstitch.extractors` names it.

    [project.entry-points."rlstitch.extractors"]
    my-cnn = "my_package.networks:MyExtractor"

The class is one that Stable-Baselines3 takes as `features_extractor_class`: made from an observation space (a uint8 Box
`(C, H, W)`) and keyword arguments, it turns float images `(N, C, H, W)` in [0, 1] into features `(N, features_dim)`.
A stored agent keeps the name and the arguments, never code: what runs is what the user installed under that name.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from rlstitch.agents.specs import ExtractorSpec
from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.storage import limits

GROUP = "rlstitch.extractors"

# What importing, making or running somebody else's module with wrong arguments may raise.
_FOREIGN_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, OSError, RuntimeError, TypeError,
    ValueError,
)  # fmt: skip


def extractor_names() -> list[str]:
    """Return the names of the extractors that are installed, sorted; nothing is imported."""
    return sorted({point.name for point in entry_points(group=GROUP)})


class ExtractorEncoder(nn.Module):
    """A features extractor of the user's own: images `(N, C, H, W)` in [0, 1] -> latents `(N, latent_dim)`.

    Raises:
        UnknownNameError: where no installed package has an extractor of this name.
        InvalidInputError: where it cannot be made so, or gives latents of another shape.
    """

    def __init__(self, spec: ExtractorSpec) -> None:
        super().__init__()
        self._spec = spec
        self.module = _make(spec)
        numbers = sum(value.numel() for value in self.module.state_dict().values())
        if numbers > limits.PARAMETERS:
            raise InvalidInputError(f"extractor {spec.name!r}: {numbers:,} parameters, at most {limits.PARAMETERS:,}")

    @property
    def latent_dim(self) -> int:
        """Width of the latent space."""
        return self._spec.latent_dim

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels of the observations."""
        return self._spec.image_shape

    def spec(self) -> dict[str, Any]:
        """Return what `build_encoder` needs to make this module again (without weights)."""
        return self._spec.model_dump(mode="json")

    def forward(self, images: Tensor) -> Tensor:
        """Encode float images `(N, C, H, W)` in [0, 1] as latents `(N, latent_dim)`."""
        latents: Tensor = self.module(images)
        return latents


def _entry_point(name: str) -> EntryPoint:
    found = [point for point in entry_points(group=GROUP) if point.name == name]
    if not found:
        raise UnknownNameError(f"extractor (entry points of the group {GROUP!r})", name, extractor_names())
    if len({point.value for point in found}) > 1:
        raise InvalidInputError(f"extractor {name!r}: several packages claim it: {[point.value for point in found]}")
    return found[0]


def _make(spec: ExtractorSpec) -> nn.Module:
    point = _entry_point(spec.name)
    height, width, channels = spec.image_shape
    where = f"extractor {spec.name!r} ({point.value})"
    try:
        build: Callable[..., Any] = point.load()
        module = build(spaces.Box(0, 255, (channels, height, width), np.uint8), **spec.arguments)
        if not isinstance(module, nn.Module):
            raise TypeError(f"expected a torch module, found {type(module).__name__}")
        with torch.no_grad():
            shape = tuple(module.eval()(torch.zeros(2, channels, height, width)).shape)
    except _FOREIGN_ERRORS as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise InvalidInputError(f"{where}: cannot be made with {spec.arguments}: {reason}") from None
    if shape != (2, spec.latent_dim):
        raise InvalidInputError(f"{where}: expected latents of width {spec.latent_dim}, found shape {shape[1:]}")
    return module
